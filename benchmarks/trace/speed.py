#!/usr/bin/env python3
"""How fast `dsaperf trace show` reads large recordings, each run a process of its own.

    benchmarks/trace/speed.py --program build/release/tools/dsaperf/dsaperf

Recordings come from those of $DSAPERF_FIXTURES, their rows repeated until the files are 100 MB (nsys's SQLite)
and 300 MB (torch's JSON); times of day and correlation ids go on, so that kernels stay tied to their launches.
Prints a table and writes benchmarks/results/host/trace_speed.json. Exit code 3 where a budget is missed.
"""

import argparse
import gzip
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SQLITE_BYTES, JSON_BYTES = 100_000_000, 300_000_000
# Wall time and memory that a reader may take.
BUDGETS = {"sqlite": (1.0, 500), "json": (3.0, 500)}


def grown_sqlite(source: Path, target: Path) -> None:
    target.write_bytes(gzip.decompress(source.read_bytes()))
    database = sqlite3.connect(target)
    tables = [
        table
        for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if table in ("NVTX_EVENTS", "CUPTI_ACTIVITY_KIND_RUNTIME", "CUPTI_ACTIVITY_KIND_KERNEL",
                     "CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET")
    ]
    for table in tables:
        database.execute(f"CREATE TEMP TABLE once_{table} AS SELECT * FROM {table}")
    (span,) = database.execute('SELECT max("end") - min(start) FROM once_CUPTI_ACTIVITY_KIND_KERNEL').fetchone()
    (ids,) = database.execute("SELECT max(correlationId) FROM once_CUPTI_ACTIVITY_KIND_RUNTIME").fetchone()
    copy = 0
    while target.stat().st_size < SQLITE_BYTES:
        copy += 1
        for table in tables:
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            moved = {"start": f"start + {copy * 2 * span}", "end": f'"end" + {copy * 2 * span}',
                     "correlationId": f"correlationId + {copy * (ids + 1)}"}
            values = ", ".join(moved.get(column, f'"{column}"') for column in columns)
            database.execute(f"INSERT INTO {table} SELECT {values} FROM once_{table}")
        database.commit()
    database.close()


def grown_json(source: Path, target: Path) -> None:
    trace = json.loads(gzip.decompress(source.read_bytes()))
    events = trace.pop("traceEvents")
    times = [event["ts"] for event in events if isinstance(event.get("ts"), (int, float)) and event.get("ph") == "X"]
    span = max(times) - min(times)
    with target.open("w") as out:
        out.write(json.dumps(trace)[:-1] + ', "traceEvents": [\n')
        copy = 0
        while out.tell() < JSON_BYTES:
            for event in events:
                event = dict(event)
                if "ts" in event:
                    event["ts"] = event["ts"] + copy * 2 * span
                args = event.get("args")
                if args:
                    moved = {key: value + copy * 10_000_000 for key, value in args.items()
                             if key in ("correlation", "External id") and isinstance(value, int)}
                    event["args"] = {**args, **moved}
                out.write(json.dumps(event) + ",\n")
            copy += 1
        out.write(json.dumps(events[0]) + "\n]}\n")


def timed(command: list[str], runs: int) -> dict:
    seconds, cpu, peak = [], [], []
    for _ in range(runs):
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds.append(time.monotonic() - start)
        if status != 0:
            sys.exit(f"error: {' '.join(command)} ended with {status}")
        cpu.append(usage.ru_utime + usage.ru_stime)
        peak.append(usage.ru_maxrss / 1024)
    return {"seconds": round(statistics.median(seconds), 3), "fastest_s": round(min(seconds), 3),
            "slowest_s": round(max(seconds), 3), "cpu_s": round(statistics.median(cpu), 3),
            "peak_mib": round(max(peak), 1), "runs": runs}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, default=ROOT / "build/release/tools/dsaperf/dsaperf")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "benchmarks/results/host/trace_speed.json")
    options = parser.parse_args()
    fixtures = Path(os.environ.get("DSAPERF_FIXTURES", ROOT.parent / "shared/fixtures"))
    result = {
        "format": "dsaperf.trace_speed.1",
        "machine": next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                         if line.startswith("model name")), "unknown") + f", {os.cpu_count()} cores",
        "commit": subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True,
                                 text=True, check=False).stdout.strip(),
        "command": "benchmarks/trace/speed.py",
    }
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, source, grow in (("sqlite", "nsys_sqlite/mfu_2gpu_before.sqlite.gz", grown_sqlite),
                                   ("json", "traces/transformers-5.17-v32_decode-h200.json.gz", grown_json)):
            target = Path(folder) / f"large.{kind}"
            grow(fixtures / source, target)
            result[f"load_average_{kind}"] = round(os.getloadavg()[0], 2)
            row = timed([str(options.program), "trace", "show", str(target), "--json"], options.runs)
            row = {"file_mb": round(target.stat().st_size / 1e6, 1), **row,
                   "budget_s": BUDGETS[kind][0], "budget_mib": BUDGETS[kind][1]}
            result[kind] = row
            target.unlink()
            print(f"{kind:7} {row['file_mb']:6} MB  {row['seconds']:.3f} s (fastest {row['fastest_s']:.3f}, CPU "
                  f"{row['cpu_s']:.3f}; due {BUDGETS[kind][0]:.0f})  {row['peak_mib']:.0f} MiB (due {BUDGETS[kind][1]})")
            if row["seconds"] > BUDGETS[kind][0] or row["peak_mib"] > BUDGETS[kind][1]:
                missed.append(kind)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    return 3 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
