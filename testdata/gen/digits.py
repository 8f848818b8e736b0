"""Writes the handwritten digits that scikit-learn bundles as pictures: OUT/train/3/0042.png and OUT/test/...

    pip install numpy==2.4.6 pillow==13.0.0 scikit-learn==1.7.2    # of requirements.txt
    python digits.py OUT

and then, in the project's folder, go run ./bench/learning -digits OUT.

1797 pictures of 8x8 grey pixels, levels 0 to 16, which become 0 to 255; a fifth of each digit is for testing, by a fixed
seed. Numbers in file names are those of scikit-learn. Nothing is downloaded, and nothing of it is kept in the repository.

Source: sklearn.datasets.load_digits; E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
Learning Repository, 1998, CC BY 4.0: its test set.
"""

import os
import sys

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: digits.py OUT")
    out = sys.argv[1]
    d = load_digits()
    train, test = train_test_split(np.arange(len(d.target)), test_size=0.2, stratify=d.target, random_state=0)
    for part, numbers in (("train", train), ("test", test)):
        for label in range(10):
            os.makedirs(os.path.join(out, part, str(label)))  # an error if it is there
        for i in numbers:
            pixels = np.uint8(np.round(d.images[i] * (255 / 16)))
            Image.fromarray(pixels).save(os.path.join(out, part, str(d.target[i]), "%04d.png" % i))
    print("%d pictures to train on, %d to test with" % (len(train), len(test)))
