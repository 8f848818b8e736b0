#!/usr/bin/env bash
# OpenVINO 2026.4.1, on x86-64: attention with a dynamic number of tokens, whose first inference has one token, is wrong in
# every later one with 16 tokens or more. No error is raised. A model that was compiled anew, or that saw two tokens first, is right.
#
# Equal keys and values of 1 make a mean of ones, which is 1. After one token, 33 tokens give 0.0909: 3/33. 16 give 1/16, 17
# give 2/17, 64 give 4/64. Fewer than 16 are right. So of every 16 keys, the lanes of AVX-512, one counts.
#
# Cause: the CPU plugin fuses ScaledDotProductAttention, or MatMul, Softmax and MatMul, into one node, a Subgraph. Each of the three
# operations is right alone, and they are right in a row if the weights of the softmax are an output as well, which prevents
# the fusion. What the node was compiled to for one key seems to serve more keys afterwards.
#
# Who meets it: whoever exports a transformer with a dynamic length, and warms it up with, or first gets, one token. A
# first inference with two tokens or more helps.
#
# Seen on 2026-11-30, linux/amd64 with AVX-512, Python 3.11.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

python3 -m venv venv
venv/bin/pip install -q openvino==2026.4.1 numpy==2.4.3

cat >main.py <<'PY'
import numpy as np
import openvino as ov
import openvino.opset13 as op


def model(kind):
    p = q, k, v = [op.parameter(ov.PartialShape([1, 1, -1, 16]), ov.Type.f32) for _ in range(3)]
    if kind == "one operation":
        return ov.Model([op.scaled_dot_product_attention(q, k, v)], p)
    weights = op.softmax(op.matmul(q, k, False, True), -1)
    mean = op.matmul(weights, v, False, False)
    return ov.Model([mean, weights] if kind == "three, weights seen" else [mean], p)


core = ov.Core()
for kind in "one operation", "three", "three, weights seen":
    for lengths in (33,), (2, 33), (1, 15), (1, 33):
        compiled = core.compile_model(model(kind), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        for tokens in lengths:
            zeros, ones = (np.full((1, 1, tokens, 16), x, np.float32) for x in (0, 1))
            y = compiled([zeros, zeros, ones])[0]
        nodes = [x.get_rt_info()["layerType"].value for x in compiled.get_runtime_model().get_ordered_ops()]
        fused = "fused" if "Subgraph" in nodes and "Softmax" not in nodes else "not fused"
        print(f"{kind}, {fused}, tokens {lengths}:", "right" if np.allclose(y, 1, atol=1e-5) else "wrong")
PY
venv/bin/python main.py >got

cat >want <<'TXT'
one operation, fused, tokens (33,): right
one operation, fused, tokens (2, 33): right
one operation, fused, tokens (1, 15): right
one operation, fused, tokens (1, 33): wrong
three, fused, tokens (33,): right
three, fused, tokens (2, 33): right
three, fused, tokens (1, 15): right
three, fused, tokens (1, 33): wrong
three, weights seen, not fused, tokens (33,): right
three, weights seen, not fused, tokens (2, 33): right
three, weights seen, not fused, tokens (1, 15): right
three, weights seen, not fused, tokens (1, 33): right
TXT
diff want got || { echo "OpenVINO 2026.4.1 computes attention after one token in another way than was seen" >&2; exit 1; }
echo "as seen: OpenVINO 2026.4.1 computes attention over 33 tokens wrongly after a first inference with one"
