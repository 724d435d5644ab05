"""Markdown tables of estimated against measured deployments; the peer's file as argument, dsaperf's JSON on stdin."""

import collections
import csv
import json
import statistics
import sys


def error(estimated, measured):
    return estimated / measured - 1


def percent(values):
    return f"{100 * statistics.mean(map(abs, values)):.1f} %" if values else "-"


def signed(value):
    return "-" if value is None else f"{100 * value:+.0f} %"


def main():
    with open(sys.argv[1], newline="") as file:
        peer = {row["id"]: row for row in csv.DictReader(file)}
    rows = [row for row in json.load(sys.stdin)["rows"] if row["error"] is None]

    print("| card | engine | model | isl/osl | at a time | TTFT ms | ours | peer | TPOT ms | ours | peer |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    groups = collections.defaultdict(lambda: collections.defaultdict(list))
    for row in rows:
        other = peer.get(row["source"].split(":")[-1])
        cells = [row["system"], row["backend"], f"{row['model']} {row['precision']}", f"{row['isl']:.0f}/{row['osl']:.0f}",
                 f"{row['concurrency']:.0f}" if row["concurrency"] else f"{row['rate_per_s']}/s"]
        for what in ("ttft", "tpot"):
            measured = row[f"measured_{what}_ms"]
            ours = error(row[f"{what}_ms"], measured) if measured and row[f"{what}_ms"] else None
            theirs = error(float(other[f"peer_{what}_ms"]), measured) if other and measured else None
            cells += [f"{measured:.4g}" if measured else "-", signed(ours), signed(theirs)]
            for group in ("all", row["system"], f"{row['system']} {row['backend']}"):
                for subset in (["rows"] if theirs is None else ["rows", "with peer"]):
                    if ours is not None:
                        groups[group, subset][what, "ours"].append(ours)
                if theirs is not None:
                    groups[group, "with peer"][what, "peer"].append(theirs)
        print("| " + " | ".join(cells) + " |")

    print("\n| deployments | n | TTFT ours | TTFT peer | TPOT ours | TPOT peer |")
    print("| --- | --- | --- | --- | --- | --- |")
    for (group, subset), values in sorted(groups.items()):
        label = group + (", those that the peer answers" if subset == "with peer" else "")
        print(f"| {label} | {len(values['tpot', 'ours'])} | " + " | ".join(
            percent(values[what, whose]) for what in ("ttft", "tpot") for whose in ("ours", "peer")) + " |")


if __name__ == "__main__":
    main()
