#!/usr/bin/env python3
"""Times dsaperf's kernels and the public ones alternately, on the same inputs and buffers.

    python3 peers.py --library libdsaperf_peers.so --archive attention.tar.xz --out peers.json
    python3 peers.py ... --only prefill,decode --budget 120

Needs a GPU and torch. The archive holds the peers as shipped in vLLM's wheel. A kernel family is a
module beside this file with cases(context): an iterator of Case, in the order of importance; adding
one is adding its name to FAMILIES. Every case checks that both give the same result before it is
timed; a case whose peer cannot run it stands in rows_without_peer.

cold: the L2 is overwritten before each call, one event pair a call. warm: ten calls in a CUDA
graph, per call. Medians, in microseconds; ratio = peer / ours, so above 1 ours is faster.
"""
import argparse
import importlib
import json
import os
import re
import subprocess
import sys
import time

import torch

import measure

FAMILIES = ("prefill", "decode", "scores", "topk", "gemm")


def environment(args):
    """What the numbers depend on: card, clocks, power, versions, commit."""
    properties = torch.cuda.get_device_properties(0)
    query = "clocks.sm,clocks.max.sm,clocks.mem,power.limit,driver_version,temperature.gpu"
    try:
        smi = subprocess.run(["nvidia-smi", "--query-gpu=" + query, "--format=csv,noheader,nounits"],
                             capture_output=True, text=True, check=True).stdout.splitlines()[0].split(", ")
    except (OSError, subprocess.CalledProcessError, IndexError):
        smi = [None] * 6
    return {
        "format": "dsaperf.peers.1",
        "device": properties.name,
        "sm_count": properties.multi_processor_count,
        "clocks": {"sm_mhz": smi[0], "sm_max_mhz": smi[1], "memory_mhz": smi[2]},
        "power": {"limit_w": smi[3], "temperature_c": smi[5]},
        "versions": {"driver": smi[4], "cuda": torch.version.cuda, "torch": torch.__version__,
                     "peers": "vllm 0.33.0"},
        "commit": args.commit,
        "command": " ".join(["peers.py"] + [os.path.basename(word) for word in sys.argv[1:]]),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True, help="libdsaperf_peers.so")
    parser.add_argument("--archive", default="", help="archives of the peers, comma separated; none: ours alone")
    parser.add_argument("--only", default=",".join(FAMILIES), help="families, comma separated")
    parser.add_argument("--out", default="peers.json")
    parser.add_argument("--commit", default="unknown")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds; cases left over are named in the output")
    parser.add_argument("--match", default="", help="only cases whose kernel and name match this regular expression")
    parser.add_argument("--quick", action="store_true", help="fewer samples")
    parser.add_argument("--variants", action="store_true", help="our other variants of each case too")
    parser.add_argument("--merge", default="", help="an earlier document: its rows that this run has not measured are kept")
    args = parser.parse_args()

    started = time.monotonic()
    earlier = json.load(open(args.merge)) if args.merge else None

    def write():
        whole = measure.merged(earlier, document) if earlier else document
        with open(args.out + ".part", "w") as file:
            json.dump(whole, file, indent=1)
        os.replace(args.out + ".part", args.out)  # a run that is cut short leaves a whole document

    folder = "/tmp/dsaperf-peers"
    os.makedirs(folder, exist_ok=True)
    for archive in filter(None, args.archive.split(",")):
        subprocess.run(["tar", "xJf", archive, "-C", folder], check=True)
    sys.path.insert(0, folder)
    context = measure.Context(library=args.library, peers=folder if args.archive else None)
    torch.manual_seed(0)
    measure.raise_clocks()
    document = environment(args)
    document["rows"], document["rows_without_peer"], document["left_out"] = [], [], []
    for family in filter(None, args.only.split(",")):
        try:
            module = importlib.import_module("family_" + family)
        except ModuleNotFoundError as error:
            print("family %s: %s" % (family, error), flush=True)
            continue
        for case in module.cases(context):
            if not re.search(args.match, case.kernel + " " + case.name):
                continue
            if time.monotonic() - started > args.budget:
                document["left_out"].append(case.kernel + " " + case.name)
                continue
            try:
                row = measure.race(case, quick=args.quick, context=context if args.variants else None)
            except Exception as error:  # noqa: BLE001 - one case must not end the run
                torch.cuda.synchronize()
                row = {"kernel": case.kernel, "case": case.name, "error": str(error)[:300]}
            document["rows" if row.get("peer_cold_us") else "rows_without_peer"].append(row)
            print("\n".join([measure.line(row), *measure.variant_lines(row)]), flush=True)
            write()
        torch.cuda.empty_cache()
    document["clocks_after"] = environment(args)["clocks"]
    write()
    print(measure.summary(document))


if __name__ == "__main__":
    main()
