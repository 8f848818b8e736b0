#!/bin/sh
# Makes all fixtures again, after setup.sh, and then testdata/SHA256SUMS.
set -eu
cd "$(dirname "$0")"
export PYTHONDONTWRITEBYTECODE=1
for script in stages block ops checkpoints demo pillow families families_projector xcomposer llava plora optim probe augment lora adapters finetune text mojibake contrastive tables evaluation losses explain; do
	[ -f $script.py ] || continue
	echo "$script.py"
	.venv/bin/python -W ignore $script.py
done
for script in families_new forms containers zeroshot zeroshot_multi verify; do
	echo "$script.py"
	.venv/torch-2.15.0/bin/python -W ignore $script.py
done
.venv/bin/python -W ignore containers.py # mmengine's
./sums.sh
