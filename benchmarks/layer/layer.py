#!/usr/bin/env python3
"""The whole layer of DeepSeek-V3.2 on a GPU, every stage against its bound, as one JSON document.

    benchmarks/layer/layer.py --program build/release/tools/dsaperf/dsaperf
    benchmarks/layer/layer.py --program ... --out benchmarks/results/h200_sxm/layer.json

16 and 128 heads a rank; prefill of 4096 tokens after 0 and 28672; decode of 1, 32 and 128 requests at 32768. Each case is one
`dsaperf run --json`: graph replay, cold and warm, weights and past tokens random. Without --out the document goes to
benchmarks/results/SYSTEM/layer.json of the GPU that is found. Exit code 1 where a case failed; the others are written all the same.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

MODEL = "deepseek-ai/DeepSeek-V3.2"
SHAPES = [
    # name, batch, new, past, cache: prefill reads bf16 rows, decode the fp8 rows of serving
    ("prefill_4096", 1, 4096, 0, "bf16"),
    ("prefill_4096_after_28k", 1, 4096, 28672, "bf16"),
    ("decode_1_at_32k", 1, 1, 32767, "fp8"),
    ("decode_32_at_32k", 32, 1, 32767, "fp8"),
    ("decode_128_at_32k", 128, 1, 32767, "fp8"),
]
HEADS = (16, 128)


def run_case(options, name, heads, batch, new, past, kv, check):
    command = [options.program, "run", MODEL, "--device", options.device, "--heads", str(heads), "--batch", str(batch)]
    command += ["--new", str(new), "--past", str(past), "--kv", kv, "--gemm", options.gemm, "--seconds", str(options.seconds), "--json"]
    if check:
        command.append("--check")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        return {"case": name, "heads": heads, "error": done.stderr.strip().removeprefix("error: "), "command": command[1:]}
    report = json.loads(done.stdout)
    timing = report["timing"]
    layer_us = timing["whole_warm_us"] or report["time_us"]
    return {
        "case": name,
        "heads": heads,
        "batch": batch,
        "new_tokens": new,
        "past_tokens": past,
        "kv": kv,
        "gemm": options.gemm,
        "layer_warm_us": layer_us,
        "layer_cold_us": timing["whole_cold_us"],
        "bound_us": report["bound_us"],
        "of_bound": report["bound_us"] / layer_us if layer_us else None,
        "launch": timing["launch"],
        "samples": timing["warm_samples"],
        "memory": report["memory"],
        "check_passed": report["check"]["passed"] if check else None,
        "stages": [
            {
                **{key: stage[key] for key in ("name", "warm_us", "cold_us", "bound_us", "bound_by", "spread", "error")},
                "of_bound": stage["bound_us"] / stage["time_us"] if stage["time_us"] else None,
            }
            for stage in report["stages"]
        ],
        "system": report["system"],
        "device": report["device_name"],
    }


def state_of_card():
    fields = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,power.draw,power.limit,temperature.gpu"
    try:
        line = subprocess.run(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return dict(zip(fields.split(","), (part.strip() for part in line.stdout.splitlines()[0].split(",")), strict=False))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the dsaperf program")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--device", default="gpu", choices=("gpu", "cpu"), help="cpu: to try the script, small shapes only")
    parser.add_argument("--gemm", default="fp8_block")
    parser.add_argument("--seconds", type=float, default=1.0, help="of repetitions, each case")
    parser.add_argument("--budget", type=float, default=600, help="seconds in all; cases that would begin later are left out")
    parser.add_argument("--commit", default="unknown")
    parser.add_argument("--check", action="store_true", help="decode of one request also against the double reference")
    parser.add_argument("--cases", help="some of the names, comma separated")
    options = parser.parse_args()

    began = time.monotonic()
    rows = []
    for heads in HEADS:
        for name, batch, new, past, kv in SHAPES:
            if options.cases and name not in options.cases.split(","):
                continue
            if time.monotonic() - began > options.budget:
                rows.append({"case": name, "heads": heads, "error": "left out: the time was over"})
                continue
            row = run_case(options, name, heads, batch, new, past, kv, options.check and batch == 1 and new == 1)
            rows.append(row)
            if "error" in row:
                print(f"{name:24} {heads:4} heads  {row['error']}", flush=True)
                continue
            worst = max(row["stages"], key=lambda stage: (stage["warm_us"] or stage["cold_us"]) - stage["bound_us"])
            of_bound = f"{100 * row['of_bound']:3.0f} %" if row["of_bound"] else "  - "
            print(f"{name:24} {heads:4} heads  {row['layer_warm_us']:10.1f} us  bound {row['bound_us']:9.1f} us  {of_bound}"
                  f"  most above its bound: {worst['name']}", flush=True)

    ran = [row for row in rows if "error" not in row]
    system = next((row["system"] for row in ran if row["system"]), None)
    document = {
        "format": "dsaperf.layer_bench.1",
        "model": MODEL,
        "system": system,
        "device": next((row["device"] for row in ran), None),
        "card": state_of_card(),
        "commit": options.commit,
        "date": time.strftime("%Y-%m-%d"),
        "rows": [{key: value for key, value in row.items() if key not in ("system", "device")} for row in rows],
    }
    out = options.out or pathlib.Path(__file__).resolve().parents[1] / "results" / (system or "unknown") / "layer.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(document, indent=1) + "\n")
    print(f"{len(ran)} of {len(rows)} cases: {out}")
    return 0 if len(ran) == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
