#!/usr/bin/env python3
"""One attention layer of DeepSeek-V3.2 or GLM-5 as transformers has it, so that a profiler may look at it.

    dsaperf profile --range decode -o layer.json.gz -- benchmarks/layer/transformers_layer.py CONFIG --past 4096

Fills its cache by chunks of random tokens, then decodes: warm-up steps, and steps inside an NVTX range `decode`. Weights are
random, in bf16. Needs torch and transformers with deepseek_v32 (5.17); --device cpu tries it without a GPU, without the range.
"""

import argparse
import contextlib
import json
import pathlib

import torch
from transformers.cache_utils import DynamicCache


def layer_of(document):
    if document["model_type"] == "deepseek_v32":
        from transformers.models.deepseek_v32 import modeling_deepseek_v32 as modeling
        from transformers.models.deepseek_v32.configuration_deepseek_v32 import DeepseekV32Config as Config

        kinds = modeling.DeepseekV32Attention, modeling.DeepseekV32RotaryEmbedding
    else:
        from transformers.models.glm_moe_dsa import modeling_glm_moe_dsa as modeling
        from transformers.models.glm_moe_dsa.configuration_glm_moe_dsa import GlmMoeDsaConfig as Config

        kinds = modeling.GlmMoeDsaAttention, modeling.GlmMoeDsaRotaryEmbedding
    document.pop("quantization_config", None)
    config = Config.from_dict(document)
    config._attn_implementation = "sdpa"
    return config, kinds[0](config, 0), kinds[1](config)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=pathlib.Path)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--past", type=int, default=4096)
    parser.add_argument("--heads", type=int, help="attention heads of one rank (default: all)")
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    torch.manual_seed(0)
    document = json.loads(options.config.read_text())
    if options.heads:
        document["num_attention_heads"] = document["num_key_value_heads"] = options.heads
    config, module, rotary = layer_of(document)
    module = module.to(options.device, torch.bfloat16).eval()
    rotary = rotary.to(options.device)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.02) if parameter.dim() > 1 else torch.nn.init.ones_(parameter)
    cache = DynamicCache(config=config)

    def forward(done, count):
        hidden = torch.randn(options.batch, count, config.hidden_size, device=options.device, dtype=torch.bfloat16)
        positions = torch.arange(done, done + count, device=options.device)[None].expand(options.batch, -1)
        visible = torch.arange(done + count, device=options.device)[None, :] <= positions[0][:, None]
        mask = torch.where(visible, 0.0, torch.finfo(torch.bfloat16).min).to(torch.bfloat16)[None, None]
        module(hidden, rotary(hidden, positions), mask, past_key_values=cache, position_ids=positions)

    on_gpu = options.device != "cpu"
    with torch.no_grad():
        done = 0
        while done < options.past:
            count = min(512, options.past - done)
            forward(done, count)
            done += count
        for _ in range(options.warm_up):
            forward(done, 1)
            done += 1
        if on_gpu:
            torch.cuda.synchronize()
        with torch.cuda.nvtx.range("decode") if on_gpu else contextlib.nullcontext():
            for _ in range(options.steps):
                forward(done, 1)
                done += 1
            if on_gpu:
                torch.cuda.synchronize()
    print(f"{options.steps} steps of {options.batch} x 1 token after {options.past}, {module.num_heads} heads")


main()
