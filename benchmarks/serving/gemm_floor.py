#!/usr/bin/env python3
"""Whether vLLM's rows of block-scaled GEMMs hold a kernel's time or its host's: the least time of each kernel, and what SGLang's
kernel takes for the same shapes.

  build/venv/bin/python3 benchmarks/serving/gemm_floor.py [--systems DIR] [-o benchmarks/results/host/gemm_floor.json]

DIR: AIConfigurator's systems folder (default: the installed package's).

Prints a line a kernel: rows, 5th, 50th and 95th percentile in us of those that the model (data/serving/modelled.csv, h200_sxm) expects
under 20 us, the share of rows within 1.2 times of the least time, SGLang's median on these; then the error of the model in the median, as
it is, with that least time, and for rows of more than 1.5 times it.
"""

import argparse
import csv
import importlib.util
import pathlib
import sys

import numpy
import pyarrow.parquet

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import record  # noqa: E402

DATA = pathlib.Path(__file__).parents[2] / "data"
BYTES_A_S, FLOP_A_S = 4.8e12, 1979e12  # h200_sxm, dense fp8
KERNELS = ("FlashInfer", "DeepGemm", "Cutlass")


def rows_of(systems, backend, version):
    table = pyarrow.parquet.read_table(systems / "data/h200_sxm/gemm" / backend / version / "gemm_perf.parquet")
    columns = (table[name].to_pylist() for name in ("gemm_dtype", "kernel_source", "m", "n", "k", "latency"))
    return {(m, n, k): (ms * 1000, kernel) for dtype, kernel, m, n, k, ms in zip(*columns) if dtype == "fp8_block"}


def modelled():
    with open(DATA / "serving/modelled.csv", newline="") as text:
        costs = next(row for row in csv.DictReader(text) if row["operator"] == "gemm" and not row["format"])
    fixed, math, memory = (float(costs[name]) for name in ("fixed_us", "math_share", "memory_share"))
    return lambda m, n, k: fixed + 1e6 * max(2 * m * n * k / FLOP_A_S / math, (m * k + n * k + 2 * m * n) / BYTES_A_S / memory)


def least_us(kernel, m):
    """The least time of a kernel's rows: DeepGEMM's scales are padded to a multiple of four tokens."""
    return {"FlashInfer": 56, "Cutlass": 154, "DeepGemm": 80 if m % 4 == 0 else 88}[kernel]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--systems", type=pathlib.Path)
    parser.add_argument("-o", "--output", help="also write a record")
    arguments = parser.parse_args()
    systems = arguments.systems or pathlib.Path(importlib.util.find_spec("aiconfigurator_core").origin).parent / "systems"
    found = []
    vllm, sglang = rows_of(systems, "vllm", "0.24.0"), rows_of(systems, "sglang", "0.5.14")
    model = modelled()
    for kernel in KERNELS:
        rows = [(shape, us, least_us(kernel, shape[0])) for shape, (us, source) in vllm.items() if source.startswith(kernel)]
        small = [us for shape, us, _ in rows if model(*shape) < 20]
        near = [shape for shape, us, least in rows if us < 1.2 * least]
        theirs = [sglang[shape][0] for shape in near if shape in sglang]
        errors = [[abs(of(shape, least) / us - 1) for shape, us, least in some] for of, some in (
            (lambda shape, least: model(*shape), rows), (lambda shape, least: max(model(*shape), least), rows),
            (lambda shape, least: model(*shape), [row for row in rows if row[1] > 1.5 * row[2]]))]
        print(f"{kernel}: {len(rows)} rows; small ones", *numpy.percentile(small, (5, 50, 95)).round(), f"us; {len(near) / len(rows):.0%} near it; sglang",
              numpy.median(theirs).round(1) if theirs else "-", "us; error as it is, with it, of long rows:",
              *(f"{numpy.median(error):.0%}" for error in errors), f"({len(errors[2])} rows)")
        found.append({"kernel": kernel, "rows": len(rows), "small_us": [float(us) for us in numpy.percentile(small, (5, 50, 95)).round(1)],
                      "near_least_share": round(len(near) / len(rows), 3), "sglang_us": float(numpy.median(theirs).round(1)) if theirs else None,
                      **{name: round(float(numpy.median(error)), 3) for name, error in zip(("error", "error_with_least", "error_of_long"), errors)},
                      "long_rows": len(errors[2])})
    if arguments.output:
        record.write(arguments.output, {
            "format": "dsaperf.benchmark.gemm_floor.1",
            "command": f"benchmarks/serving/gemm_floor.py -o {arguments.output}",
            "tables": "fp8_block of vllm 0.24.0 and sglang 0.5.14, h200_sxm of aiconfigurator-core 0.12.0"}, found)


if __name__ == "__main__":
    main()
