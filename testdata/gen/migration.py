"""docs/migration.md, run: each block of Python, and the commands behind it, on the same small random models and one photograph. What both give
under the same name agrees.

    python migration.py VITAGO [PHOTO]        in .venv/torch-2.15.0

A block of Python sets some of `image`, `text`, `tokens` and `labels`. The block of sh behind it has as many commands, in this order, and
`labels` is the probability of each label.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from common import TESTDATA

PAGE = os.path.join(os.path.dirname(TESTDATA), "docs", "migration.md")
NAMES = ["image", "text", "labels", "tokens"]


def models(vitago):
    """Writes models/: one random CLIP in the forms that the page names."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import CLIPModel as STModel
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

    torch.manual_seed(1)
    config = CLIPConfig(
        text_config=dict(hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=1, projection_dim=48, eos_token_id=49407),
        vision_config=dict(hidden_size=64, intermediate_size=256, num_hidden_layers=2, num_attention_heads=1, image_size=224, patch_size=32, projection_dim=48),
        projection_dim=48,
    )
    for c in (config.text_config, config.vision_config):
        c.initializer_factor = 20.0  # so that embeddings of two inputs differ
    net = CLIPModel(config).eval()
    with torch.no_grad():
        net.logit_scale.fill_(np.log(10.0))
    net.save_pretrained("models/plain")
    run = lambda *a: subprocess.run([vitago, *a], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run("convert", "models/plain", "models/clip-vit-base-patch32")  # with OpenAI's vocabulary
    run("export", "models/clip-vit-base-patch32", "models/ViT-B-32.pt", "--to", "openai", "--dtype", "f16")  # clip.load rounds weights to float16
    run("export", "models/clip-vit-base-patch32", "models/openclip", "--to", "openclip")
    SentenceTransformer(modules=[STModel("models/clip-vit-base-patch32")]).save("models/clip-ViT-B-32")

    llava = "models/llava-1.5-7b-hf"
    shutil.copytree(os.path.join(TESTDATA, "families", "hf5-llava"), llava)  # whose image processor is that of the hub's, but for its size
    CLIPImageProcessorPil(size={"shortest_edge": 12}, crop_size={"height": 12, "width": 12}).save_pretrained(llava)

    import timm

    small = timm.create_model("vit_base_patch32_clip_quickgelu_224", embed_dim=64, depth=2, num_heads=1, num_classes=48)
    from timm.models import save_for_hf

    save_for_hf(small, "models/timm", model_args=dict(embed_dim=64, depth=2, num_heads=1, num_classes=48))


def blocks(text):
    """The pairs of blocks: of Python, and of the shell behind it."""
    found = re.findall(r"```(python|sh)\n(.*?)```", text, re.S)
    return [(code, found[i + 1][1]) for i, (kind, code) in enumerate(found) if kind == "python" and i + 1 < len(found) and found[i + 1][0] == "sh"]


def main(vitago, photo=os.path.join(os.path.dirname(TESTDATA), "demo", "pictures", "red-circle.png")):
    from PIL import Image

    vitago, photo = os.path.abspath(vitago), os.path.abspath(photo)
    pairs, worst = blocks(open(PAGE, encoding="utf-8").read()), 0.0
    assert len(pairs) >= 6, len(pairs)
    with tempfile.TemporaryDirectory() as d:
        os.chdir(d)
        Image.open(photo).convert("RGB").resize((301, 233)).save("photo.jpg", quality=95)
        models(vitago)
        for code, shell in pairs:
            given = {}
            with torch.no_grad():
                exec(compile(code, PAGE, "exec"), given)
            values = [(n, np.atleast_2d(np.asarray(given[n], dtype=np.float64))) for n in NAMES if n in given]
            commands = [c for c in (shlex.split(line, comments=True) for line in shell.replace("\\\n", " ").splitlines()) if c]
            assert len(values) == len(commands) and values, (sorted(given), shell)
            for (name, want), command in zip(values, commands):
                assert command[0] == "vitago", command
                out = subprocess.run([vitago, *command[1:]], check=True, capture_output=True, text=True).stdout
                got = [json.loads(line) for line in out.splitlines()]
                if name == "labels":
                    by = {x["label"]: x["probability"] for x in got[0]["labels"]}
                    label = command[command.index("--labels") + 1].split(",")
                    got = [[by[x] for x in label]]
                elif name == "tokens":
                    got = got[0]["tokens"]
                else:
                    got = [x["embedding"] for x in got]
                got = np.asarray(got, dtype=np.float64)
                assert got.shape == want.shape, (command, got.shape, want.shape)
                error = np.abs(got - want).max() / np.abs(want).max()
                print(f"{error:.1e} {shlex.join(command)}")
                tensors = "sentence_transformers" in code and name == "image"  # it resizes by torchvision on tensors, not as Pillow
                assert error < (3e-3 if tensors else 2e-5), (command, error)
                if not tensors:
                    worst = max(worst, error)
    print(f"{len(pairs)} blocks of Python and their commands agree within {worst:.1e}")


if __name__ == "__main__":
    main(*sys.argv[1:])
