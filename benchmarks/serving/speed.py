"""How fast a deployment is estimated: dsaperf and aiconfigurator 0.12, the same questions on the same machine in one run.

    build/venv/bin/python3 benchmarks/serving/speed.py [-o benchmarks/results/host/serving_speed.json]

Processes are timed from start to exit (median of --runs) and by processor time, their memory is the peak of the resident set. The peer's
in-process figures are processor time of this process: `cli_estimate` warm, and its engine's passes. dsaperf's passes come from
serving_bench. Needs the PyPI packages aiconfigurator and aiconfigurator-core (0.12.0) in this Python; what is absent is
reported as null.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import time

MODEL = "deepseek-ai/DeepSeek-V3.2"


def timed(command, runs, one_core=False):
    """Seconds from start to exit, of processor time, and the peak of the resident set in MiB; medians."""
    if one_core:
        command = ["taskset", "--cpu-list", str(max(os.sched_getaffinity(0))), *command]
    seconds, processor, memory = [], [], []
    for _ in range(runs):
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            return None
        seconds.append(time.perf_counter() - start)
        processor.append(usage.ru_utime + usage.ru_stime)
        memory.append(usage.ru_maxrss / 1024)
    return {"seconds": round(statistics.median(seconds), 4), "fastest_s": round(min(seconds), 4), "cpu_s": round(statistics.median(processor), 4), "peak_mib": round(statistics.median(memory), 1), "runs": runs}


def peer_in_process(calls):
    """Warm `cli_estimate`, and one pass of the engine inside and outside its tables, in us."""
    try:
        from aiconfigurator.cli.api import cli_estimate
        from aiconfigurator_core.sdk.engine import EngineHandle
    except ImportError:
        return None

    def estimate(isl):
        return cli_estimate(MODEL, "h200_sxm", mode="agg", backend_name="sglang", tp_size=8, moe_tp_size=8, moe_ep_size=1, isl=isl, osl=1024, batch_size=16)

    estimate(4096)
    seconds = []
    for i in range(3):
        start = time.process_time()
        estimate(4000 + i)
        seconds.append(time.process_time() - start)
    engine = EngineHandle.compile(MODEL, "h200_sxm", "sglang", backend_version="current", tp_size=8, moe_tp_size=8, moe_ep_size=1)

    def passes(points):
        engine.predict_prefill_latency(1, 4096)
        micros = []
        for batch, length in points:
            start = time.process_time()
            engine.predict_prefill_latency(batch, length)
            micros.append((time.process_time() - start) * 1e6)
        return round(statistics.median(micros), 2)

    return {
        "estimate_warm_cpu_s": round(statistics.median(seconds), 3),
        "prefill_pass_inside_cpu_us": passes([(1, 2100 + 7 * i) for i in range(calls)]),
        "prefill_pass_outside_cpu_us": passes([(1, 40000 + 7 * i) for i in range(calls)]),
    }


def own_passes(bench):
    """Lines of serving_bench by name, in us of processor time."""
    if not os.path.exists(bench):
        return None
    text = subprocess.run([bench, "--benchmark_format=json"], check=True, capture_output=True, text=True).stdout
    scale = {"ns": 1e-3, "us": 1, "ms": 1e3}
    return {row["name"]: round(row["cpu_time"] * scale[row["time_unit"]], 3) for row in json.loads(text)["benchmarks"]}


def versions(dsaperf):
    """Of both sides; None where the peer is not installed."""
    found = {"dsaperf": subprocess.run([dsaperf, "--version"], capture_output=True, text=True).stdout.split()[-1], "python": platform.python_version()}
    for package in ("aiconfigurator", "aiconfigurator-core"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def cpu():
    with open("/proc/cpuinfo") as file:
        names = re.findall(r"model name\s*: (.*)", file.read())
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsaperf", default="build/host/tools/dsaperf/dsaperf")
    parser.add_argument("--bench", default="build/host/src/dsaperf/serving/serving_bench")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("-o", "--output")
    arguments = parser.parse_args()
    aic = os.path.join(os.path.dirname(sys.executable), "aiconfigurator")
    shape = ["--isl", "4096", "--osl", "1024"]
    estimate = [MODEL, "--system", "h200_sxm", "--backend", "sglang", "--tp", "8", *shape]
    ours = {
        "estimate": timed([arguments.dsaperf, "estimate", *estimate, "--concurrency", "16"], arguments.runs),
        "estimate_one_core": timed([arguments.dsaperf, "estimate", *estimate, "--concurrency", "16"], arguments.runs, one_core=True),
        "estimate_compatible": timed([arguments.dsaperf, "estimate", *estimate, "--concurrency", "16", "--method", "compatible"], arguments.runs),
        "sweep_8_gpus": timed([arguments.dsaperf, "sweep", MODEL, "--system", "h200_sxm", "--gpus", "8", *shape], arguments.runs),
        "sweep_8_gpus_one_core": timed([arguments.dsaperf, "sweep", MODEL, "--system", "h200_sxm", "--gpus", "8", *shape], arguments.runs, one_core=True),
        "sweep_64_gpus": timed([arguments.dsaperf, "sweep", MODEL, "--system", "h200_sxm", "--gpus", "64", *shape], arguments.runs),
        "passes_cpu_us": own_passes(arguments.bench),
    }
    peer = None
    if os.path.exists(aic):
        model = ["--model-path", MODEL, "--system", "h200_sxm", "--backend", "sglang"]
        peer = {
            "estimate": timed([aic, "cli", "estimate", *model, "--tp", "8", "--etp", "8", "--ep", "1", *shape, "--batch-size", "16"], 2),
            "sweep_8_gpus": timed([aic, "cli", "default", *model, "--total-gpus", "8", *shape, "--ttft", "5000", "--tpot", "100"], 1),
            "in_process": peer_in_process(200),
        }
    document = {
        "format": "dsaperf.serving_speed.1", "machine": cpu(), "load_average": round(os.getloadavg()[0], 1),
        "commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip(),
        "command": " ".join(["benchmarks/serving/speed.py", *sys.argv[1:]]), "versions": versions(arguments.dsaperf), "dsaperf": ours, "aiconfigurator_0.12.0": peer,
        "this_process_peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    text = json.dumps(document, indent=1)
    print(text)
    if arguments.output:
        os.makedirs(os.path.dirname(arguments.output), exist_ok=True)
        with open(arguments.output, "w") as file:
            file.write(text + "\n")


if __name__ == "__main__":
    main()
