#!/usr/bin/env python3
"""Golden cases of the DSA layer, made with the modules of transformers.

    python3 tests/oracle/make_cases.py [FOLDER]      default: tests/oracle/golden

Runs DeepseekV32Attention and GlmMoeDsaAttention (eager, f32) on small layers: prefill, a prefill with past, decode with one
and with several query tokens, across the step at topk. Writes a case as NAME/config.json and NAME/case.safetensors;
oracle_test compares dsaperf's layer with them. Needs torch and transformers (made with 2.11 and 5.17), which nothing else here needs.

Weights are not stored: both sides make them from the same counter-based generator (src/dsaperf/op/random_normal.hpp), and
`weight_sum` tells whether they agree. Values that both sides start from (weights, x) are exact in bf16.
"""
import json
import pathlib
import struct
import sys

import numpy as np
import torch
from transformers.cache_utils import DynamicCache
from transformers.models.deepseek_v32 import modeling_deepseek_v32 as v32
from transformers.models.deepseek_v32.configuration_deepseek_v32 import DeepseekV32Config
from transformers.models.glm_moe_dsa import modeling_glm_moe_dsa as glm
from transformers.models.glm_moe_dsa.configuration_glm_moe_dsa import GlmMoeDsaConfig

SEED = 5
SIZES = dict(hidden_size=64, num_attention_heads=8, num_key_value_heads=8, q_lora_rank=32, kv_lora_rank=512, qk_nope_head_dim=16,
             qk_rope_head_dim=64, v_head_dim=24, index_n_heads=8, index_head_dim=128, index_topk=16, num_hidden_layers=1,
             first_k_dense_replace=1, intermediate_size=64, moe_intermediate_size=16, n_routed_experts=8, num_experts_per_tok=2,
             n_shared_experts=1, n_group=1, topk_group=1, vocab_size=64, max_position_embeddings=4096, attention_bias=False)
YARN = dict(beta_fast=32, beta_slow=1, factor=40, mscale=1.0, mscale_all_dim=1.0, original_max_position_embeddings=4096, type="yarn")
# New tokens of each step: the first ends below topk, the second crosses it, then decode.
CASES = {
    "v32_long": ("v32", [12, 23, 1, 3]),
    "v32_short": ("v32", [5, 14, 1, 3]),
    "glm_long": ("glm", [12, 23, 1, 3]),
    "glm_short": ("glm", [5, 14, 1, 3]),
}


def normal(stream, count, sigma):
    """fill_normal_bf16 of random_normal.cpp, as f32 values that are exact in bf16."""
    mask = (1 << 64) - 1
    with np.errstate(over="ignore"):
        x = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x += np.uint64((SEED * 0xD1342543DE82EF95 + stream * 0xAF251AF3B0F025B5) & mask)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    low = np.uint64(0xFFFF)
    total = sum(((x >> np.uint64(s)) & low).astype(np.int64) for s in (0, 16, 32, 48))
    value = np.float32(sigma) * ((total.astype(np.float32) - np.float32(131070)) / np.float32(37837.2))
    return value, torch.from_numpy(value.astype(np.float32)).bfloat16().float()


def layer_weights(s):
    """Streams as layer_weights.cpp numbers them."""
    def matrix(stream, rows, columns):
        return normal(stream, rows * columns, np.float32(1) / np.sqrt(np.float32(columns)))[1].view(rows, columns)

    def near_one(stream, size):
        raw, _ = normal(stream, size, 1)
        return torch.from_numpy(np.float32(1) + np.float32(0.1) * raw)

    heads, nope, v = s["num_attention_heads"], s["qk_nope_head_dim"], s["v_head_dim"]
    return {
        "q_a_proj.weight": matrix(0, s["q_lora_rank"], s["hidden_size"]),
        "kv_a_proj_with_mqa.weight": matrix(1, 576, s["hidden_size"]),
        "q_b_proj.weight": matrix(2, heads * (nope + 64), s["q_lora_rank"]),
        "kv_b_proj.weight": matrix(3, heads * (nope + v), 512),
        "o_proj.weight": matrix(4, s["hidden_size"], heads * v),
        "indexer.wq_b.weight": matrix(5, s["index_n_heads"] * 128, s["q_lora_rank"]),
        "indexer.wk.weight": matrix(6, 128, s["hidden_size"]),
        "indexer.weights_proj.weight": matrix(7, s["index_n_heads"], s["hidden_size"]),
        "q_a_layernorm.weight": near_one(8, s["q_lora_rank"]),
        "kv_a_layernorm.weight": near_one(9, 512),
        "indexer.k_norm.weight": torch.ones(128),
        "indexer.k_norm.bias": torch.zeros(128),
    }


def in_pairs(x):
    """transformers leaves interleaved rope as (evens, odds); here results stay in the places of their inputs."""
    return x.view(*x.shape[:-1], 2, 32).transpose(-1, -2).reshape(x.shape)


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, t in tensors.items():
        t = t.contiguous()
        dtype = {torch.float32: "F32", torch.bfloat16: "BF16", torch.int32: "I32"}[t.dtype]
        raw = (t.view(torch.int16) if t.dtype == torch.bfloat16 else t).numpy().tobytes()
        header[name] = {"dtype": dtype, "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def index_scores(indexer, hidden, q_r, rope, keys, family):
    """Scores of the oracle, and how far e4m3 may move them (one standard deviation)."""
    cos, sin = rope
    n, heads = hidden.shape[1], indexer.n_heads
    q = indexer.wq_b(q_r).view(1, n, heads, 128)
    rotate = v32.apply_rotary_pos_emb if family == "v32" else glm.apply_rotary_pos_emb_interleave
    rotated, _ = rotate(q[..., :64], q[..., :64], cos, sin, unsqueeze_dim=2)
    q = torch.cat([rotated, q[..., 64:]], dim=-1)[0]
    k = keys[0]
    w = indexer.weights_proj(hidden)[0] * heads**-0.5 * 128**-0.5
    scores = torch.einsum("th,thp->tp", w, torch.relu(torch.einsum("thd,pd->thp", q, k)))
    # A value rounded to 4 significant bits is off by at most 2^-4 of it, uniformly: 2^-4 / sqrt(3) of it, two thirds of
    # that on average over a binade; both factors of a product are rounded. A product of rotated (Hadamard) rows has terms of even size.
    relative = np.sqrt(2) * 2**-4 / np.sqrt(3) * 0.75
    dot_sigma = relative * q.norm(dim=-1)[:, :, None] * k.norm(dim=-1)[None, None, :] / 128**0.5
    sigma = torch.einsum("th,thp->tp", w**2, dot_sigma**2).sqrt()
    return scores, sigma


def make_case(name, family, steps, folder):
    folder = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    if family == "v32":
        rope = {k: v for k, v in YARN.items() if k != "type"} | {"rope_type": "yarn", "rope_theta": 10000.0}
        config = DeepseekV32Config(**SIZES, rope_parameters=rope, rms_norm_eps=1e-6, attn_implementation="eager")
        module, rotary = v32.DeepseekV32Attention(config, 0), v32.DeepseekV32RotaryEmbedding(config)
        document = SIZES | dict(model_type="deepseek_v32", architectures=["DeepseekV32ForCausalLM"], rope_scaling=YARN, rope_theta=10000, rms_norm_eps=1e-6)
    else:
        rope = {"rope_type": "default", "rope_theta": 1000000.0}
        config = GlmMoeDsaConfig(**SIZES, rope_parameters=rope, rms_norm_eps=1e-5, attn_implementation="eager")
        module, rotary = glm.GlmMoeDsaAttention(config, 0), glm.GlmMoeDsaRotaryEmbedding(config)
        document = SIZES | dict(model_type="glm_moe_dsa", architectures=["GlmMoeDsaForCausalLM"], rope_parameters=rope, rms_norm_eps=1e-5,
                                indexer_rope_interleave=True)
    weights = layer_weights(SIZES)
    module.load_state_dict(weights, strict=True)
    module.eval()
    (folder / "config.json").write_text(json.dumps(document | {"dsaperf_steps": steps}, indent=1) + "\n")

    seen = {}
    module.kv_a_layernorm.register_forward_hook(lambda m, i, o: seen.__setitem__("latent", o))
    module.q_a_layernorm.register_forward_hook(lambda m, i, o: seen.__setitem__("q_r", o))
    module.indexer.register_forward_hook(lambda m, i, o: seen.__setitem__("selection", o))
    cache = DynamicCache(config=config)
    stream = 100 + sorted(CASES).index(name)
    x = normal(stream, sum(steps) * 64, 1)[1].view(1, -1, 64)
    out = {"x": x[0].bfloat16(), "weight_sum": torch.stack([w.double().sum() for w in weights.values()]).sum().float()[None]}
    latents, done = [], 0
    for step, count in enumerate(steps):
        hidden = x[:, done : done + count]
        positions = torch.arange(done, done + count)[None]
        embeddings = rotary(hidden, positions)
        visible = torch.arange(done + count)[None, :] <= positions[0][:, None]
        mask = torch.where(visible, 0.0, torch.finfo(torch.float32).min)[None, None]
        with torch.no_grad():
            y = module(hidden, embeddings, mask, past_key_values=cache, position_ids=positions)[0]
            scores, sigma = index_scores(module.indexer, hidden, seen["q_r"], embeddings, cache.layers[0].indexer_keys, family)
        latents.append(seen["latent"].reshape(-1, 512))
        selection = seen["selection"][0]
        # The module always returns min(topk, keys) indices; those beyond what a token sees are masked afterwards.
        selection = torch.where(visible.gather(1, selection.long()), selection, -1).to(torch.int32)
        selection = torch.nn.functional.pad(selection, (0, SIZES["index_topk"] - selection.shape[1]), value=-1)
        out |= {f"y{step}": y[0], f"selection{step}": selection, f"scores{step}": scores, f"score_sigma{step}": sigma}
        done += count
    keys = cache.layers[0].indexer_keys[0]
    if family == "glm":
        keys = torch.cat([in_pairs(keys[:, :64]), keys[:, 64:]], dim=-1)
    out |= {"latent": torch.cat(latents), "k_rope": in_pairs(cache.layers[0].keys[0, 0, :, SIZES["qk_nope_head_dim"] :]), "index_key": keys}
    write_safetensors(folder / "case.safetensors", {k: v.detach() for k, v in out.items()})
    print(f"{name}: {done} tokens in steps {steps}")


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "golden"
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, transformers {sys.modules['transformers'].__version__}")
    for name, (family, steps) in CASES.items():
        make_case(name, family, steps, folder)


main()
