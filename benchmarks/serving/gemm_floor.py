#!/usr/bin/env python3
"""Whether vLLM's rows of block-scaled GEMMs hold a kernel's time or its host's: the least time of each kernel, and what SGLang's
kernel takes for the same shapes.

  benchmarks/serving/gemm_floor.py [SYSTEMS]    SYSTEMS: AIConfigurator's systems folder (default: the installed package's)

Prints a line a kernel: rows, 5th, 50th and 95th percentile in us of those that the model (data/serving/modelled.csv, h200_sxm) expects
under 20 us, the share of rows within 1.2 times of the least time, SGLang's median on these; then the error of the model in the median, as
it is, with that least time, and for rows of more than 1.5 times it.
"""

import csv
import importlib.util
import pathlib
import sys

import numpy
import pyarrow.parquet

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
    if len(sys.argv) > 1:
        systems = pathlib.Path(sys.argv[1])
    else:
        systems = pathlib.Path(importlib.util.find_spec("aiconfigurator_core").origin).parent / "systems"
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


if __name__ == "__main__":
    main()
