"""The modules of OpenAI's CLIP as they were when the released archives were traced.

Source: openai/CLIP, clip/model.py, with the names that the archives hold: class Multimodal of module
multimodal.model.multimodal_transformer, whose sizes are scalar buffers. It runs on torch 1.7 and later.
"""

from collections import OrderedDict

import torch
from torch import nn


class LayerNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.type(torch.float32)).type(x.dtype)


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class ResidualAttentionBlock(nn.Module):
    def __init__(self, width, heads, attn_mask=None):
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads)
        self.ln_1 = LayerNorm(width)
        self.mlp = nn.Sequential(OrderedDict([
            ("c_fc", nn.Linear(width, width * 4)),
            ("gelu", QuickGELU()),
            ("c_proj", nn.Linear(width * 4, width)),
        ]))
        self.ln_2 = LayerNorm(width)
        self.attn_mask = attn_mask  # a tensor that is no buffer: a constant of the archive

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=self.attn_mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width, layers, heads, attn_mask=None):
        super().__init__()
        self.resblocks = nn.Sequential(*[ResidualAttentionBlock(width, heads, attn_mask) for _ in range(layers)])

    def forward(self, x):
        return self.resblocks(x)


class VisualTransformer(nn.Module):
    def __init__(self, grid, patch, width, layers, heads, embed):
        super().__init__()
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(grid ** 2 + 1, width))
        self.proj = nn.Parameter(torch.empty(width, embed))
        self.conv1 = nn.Conv2d(3, width, kernel_size=patch, stride=patch, bias=False)
        self.ln_pre = LayerNorm(width)
        self.transformer = Transformer(width, layers, heads)
        self.ln_post = LayerNorm(width)

    def forward(self, x):
        x = self.conv1(x)
        x = x.reshape(x.shape[0], x.shape[1], -1).permute(0, 2, 1)
        first = self.class_embedding.to(x.dtype) + torch.zeros(x.shape[0], 1, x.shape[-1], dtype=x.dtype, device=x.device)
        x = torch.cat([first, x], dim=1) + self.positional_embedding.to(x.dtype)
        x = self.transformer(self.ln_pre(x).permute(1, 0, 2)).permute(1, 0, 2)
        return self.ln_post(x[:, 0, :]) @ self.proj


class Multimodal(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.empty(c["N"], c["W"]))
        self.text_projection = nn.Parameter(torch.empty(c["W"], c["E"]))
        self.logit_scale = nn.Parameter(torch.ones([]))
        self.register_buffer("input_resolution", torch.tensor(c["G"] * c["P"]))
        self.register_buffer("context_length", torch.tensor(c["N"]))
        self.register_buffer("vocab_size", torch.tensor(c["V"]))
        mask = torch.empty(c["N"], c["N"]).fill_(float("-inf")).triu_(1)
        self.visual = VisualTransformer(c["G"], c["P"], c["C"], c["L"], c["H"], c["E"])
        self.transformer = Transformer(c["W"], c["LT"], c["W"] // 64, mask)
        self.token_embedding = nn.Embedding(c["V"], c["W"])
        self.ln_final = LayerNorm(c["W"])

    def encode_image(self, image):
        return self.visual(image.type(self.visual.conv1.weight.dtype))

    def encode_text(self, text):
        x = self.token_embedding(text) + self.positional_embedding
        x = self.ln_final(self.transformer(x.permute(1, 0, 2)).permute(1, 0, 2))
        return x[torch.arange(x.shape[0]), text.argmax(dim=-1)] @ self.text_projection

    def forward(self, image, text):
        i, t = self.encode_image(image), self.encode_text(text)
        i, t = i / i.norm(dim=-1, keepdim=True), t / t.norm(dim=-1, keepdim=True)
        logits = self.logit_scale.exp() * i @ t.t()
        return logits, logits.t()


# What TorchScript calls the classes: the names in OpenAI's archives.
for c in (LayerNorm, QuickGELU, ResidualAttentionBlock, Transformer, VisualTransformer, Multimodal):
    c.__module__ = "multimodal.model.multimodal_transformer"
