"""Puts weights with OpenAI's names into the model classes of transformers, which is the independent implementation."""

import torch
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModelWithProjection

def hf_names(openai):
    """OpenAI's names -> Hugging Face's. Source: transformers, convert_clip_original_pytorch_to_hf.py."""
    out = {}
    for k, a in openai.items():
        a = torch.as_tensor(a)
        if k in ("input_resolution", "context_length", "vocab_size"):
            continue
        if k == "logit_scale":
            out[k] = a
        elif k == "visual.proj":
            out["visual_projection.weight"] = a.T.contiguous()
        elif k == "text_projection":
            out["text_projection.weight"] = a.T.contiguous()
        else:
            tower, name = ("vision_model", k[len("visual."):]) if k.startswith("visual.") else ("text_model", k)
            for theirs, hf in (("transformer.resblocks.", "encoder.layers."), ("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"),
                               ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2"), ("attn.out_proj", "self_attn.out_proj"),
                               ("ln_pre", "pre_layrnorm"), ("ln_post", "post_layernorm"), ("ln_final", "final_layer_norm"),
                               ("class_embedding", "embeddings.class_embedding"), ("conv1", "embeddings.patch_embedding"),
                               ("token_embedding", "embeddings.token_embedding")):
                name = name.replace(theirs, hf)
            if name == "positional_embedding":
                name = "embeddings.position_embedding.weight"
            if "attn.in_proj_" in name:
                for part, chunk in zip("qkv", a.chunk(3)):
                    out["%s.%s" % (tower, name.replace("attn.in_proj_", "self_attn.%s_proj." % part))] = chunk.contiguous()
            else:
                out["%s.%s" % (tower, name)] = a
    return out


def vision_config(c, activation="quick_gelu"):
    return CLIPVisionConfig(hidden_size=c["C"], intermediate_size=c["F"], projection_dim=c["E"], num_hidden_layers=c["L"],
                            num_attention_heads=c["H"], image_size=c["G"] * c["P"], patch_size=c["P"], hidden_act=activation,
                            layer_norm_eps=1e-5, attention_dropout=0.0)


def hf_vision(openai, c, activation="quick_gelu", dtype=torch.float32):
    """The vision tower alone, every weight filled."""
    config = vision_config(c, activation)
    config._attn_implementation = "eager"
    m = CLIPVisionModelWithProjection(config)
    vision = {k: v for k, v in hf_names(openai).items() if k.startswith(("vision_model.", "visual_projection."))}
    m.load_state_dict(vision, strict=True)
    return m.to(dtype).eval()


def hf_clip(openai, c):
    """Both towers, every weight filled, in the precision of the weights."""
    text = dict(hidden_size=c["W"], intermediate_size=4 * c["W"], projection_dim=c["E"], num_hidden_layers=c["LT"],
                num_attention_heads=c["W"] // 64, max_position_embeddings=c["N"], vocab_size=c["V"], hidden_act="quick_gelu",
                bos_token_id=c["V"] - 2, eos_token_id=c["V"] - 1, pad_token_id=c["V"] - 1)
    config = CLIPConfig(text_config=text, vision_config=vision_config(c).to_dict(), projection_dim=c["E"])
    config._attn_implementation = "eager"
    m = CLIPModel(config)
    m.load_state_dict(hf_names(openai), strict=True, assign=True)
    return m.eval()
