"""How far the host's constants carry: refitted with parts of the deployments left out, and asked for those.

Called by `scripts/accuracy --study`. Estimates every aggregated SGLang deployment on a grid of constants
(`dsaperf estimate --host`), interpolates between, picks the constants with the least mean error of TTFT and TPOT on
what is kept, and prints the error on what was left out. Draws two pictures (vl-convert-python) into --plots.
"""

import argparse
import csv
import itertools
import json
import os
import subprocess
import tempfile

import numpy as np

# Values asked of the program; in between, answers are interpolated (they are close to linear).
GRID = {"graph_gap_us": [40, 80], "launch_us": [0, 400, 800, 1200, 1600], "request_ms": [0, 60, 120], "text_us": [0, 20, 40]}
# Values tried by a fit.
FINE = {
    "graph_gap_us": range(40, 81, 10), "launch_us": range(0, 1601, 200), "request_ms": range(0, 121, 20), "text_us": range(0, 41, 10),
}
# Cards whose servers have constants of their own (data/serving/host.csv), and which.
OWN_HOST = "b300_sxm"
OWN_CONSTANTS = ("launch_us", "request_ms")


def estimate(program, path, host):
    command = [program, "estimate", "--from", path, "--json"] + (["--host", host] if host else [])
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["rows"]


def weights(axis, value):
    """The two grid values around one, and how much of each."""
    below = max(0, min(len(axis) - 2, int(np.searchsorted(axis, value)) - 1))
    part = (value - axis[below]) / (axis[below + 1] - axis[below])
    return ((below, 1 - part), (below + 1, part))


class Study:
    def __init__(self, program, measured, peer):
        with open(peer, newline="") as file:
            self.peer = {row["id"]: row for row in csv.DictReader(file)}
        with open(measured, newline="") as file:
            reader = csv.DictReader(file)
            kept = [row for row in reader if row["source"].split(":")[-1] in self.peer]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "deployments.csv")
            with open(path, "w", newline="") as file:
                writer = csv.DictWriter(file, reader.fieldnames)
                writer.writeheader()
                writer.writerows(kept)
            self.rows = estimate(program, path, "")
            answers = []
            for point in itertools.product(*GRID.values()):
                host = ",".join(f"{name}={value}" for name, value in zip(GRID, point))
                answers.append([(row["ttft_ms"], row["tpot_ms"]) for row in estimate(program, path, host)])
        grid = np.array(answers).reshape(*(len(axis) for axis in GRID.values()), len(self.rows), 2)
        truth = np.array([(row["measured_ttft_ms"], row["measured_tpot_ms"]) for row in self.rows])
        self.points = list(itertools.product(*FINE.values()))
        self.error = np.array([np.abs(self.interpolate(grid, point) / truth - 1) for point in self.points])
        self.default_error = np.abs(np.array([(row["ttft_ms"], row["tpot_ms"]) for row in self.rows]) / truth - 1)
        self.own = np.array([row["system"] == OWN_HOST for row in self.rows])
        self.shared = [[point[list(FINE).index(name)] for name in FINE if name not in OWN_CONSTANTS] for point in self.points]
        # A run that waits for its cache says nothing about the host.
        self.saturated = truth[:, 0] > 10 * np.median(truth[:, 0])

    @staticmethod
    def interpolate(grid, point):
        axes = [weights(axis, value) for axis, value in zip(GRID.values(), point)]
        total = 0
        for corner in itertools.product(*axes):
            weight = np.prod([part for _, part in corner])
            if weight > 0:
                total = total + weight * grid[tuple(at for at, _ in corner)]
        return total

    def loss(self, mask):
        ttft = self.error[:, mask & ~self.saturated, 0].mean(axis=1)
        tpot = self.error[:, mask, 1].mean(axis=1)
        return ttft + 2 * tpot  # a TPOT is measured better than a TTFT, about twice

    def fit(self, mask):
        """The points of the servers in general, and of those with constants of their own."""
        best = int(self.loss(mask & ~self.own).argmin())
        if not (mask & self.own).any():
            return best, best
        same = np.array([shared == self.shared[best] for shared in self.shared])
        return best, int(np.where(same, self.loss(mask & self.own), np.inf).argmin())

    def leave_out(self, keys):
        error = np.zeros((len(self.rows), 2))
        folds = []
        for key in sorted(set(keys)):
            out = np.array([k == key for k in keys])
            best, best_own = self.fit(~out)
            for point, rows in ((best, out & ~self.own), (best_own, out & self.own)):
                error[rows] = self.error[point][rows]
            folds.append({"left_out": key, "rows": int(out.sum()), "constants": dict(zip(GRID, map(float, self.points[best]))),
                          OWN_HOST: dict(zip(GRID, map(float, self.points[best_own]))),
                          "ttft_mape": float(error[out, 0].mean()), "tpot_mape": float(error[out, 1].mean())})
        return error, folds

    def run(self):
        rows = self.rows
        kinds = {
            "a deployment": [row["source"] for row in rows],
            "a card": [row["system"] for row in rows],
            "a concurrency": [f"{row['concurrency']:.0f}" for row in rows],
            "a pair of isl and osl": [f"{row['isl']:.0f}/{row['osl']:.0f}" for row in rows],
            "a precision": [row["precision"] for row in rows],
        }
        best, best_own = self.fit(np.ones(len(rows), bool))
        hopper = np.array([row["system"].startswith("h") for row in rows])
        peer = np.array([[abs(float(self.peer[row["source"].split(":")[-1]][f"peer_{what}_ms"]) / row[f"measured_{what}_ms"] - 1)
                          for what in ("ttft", "tpot")] for row in rows])
        print(f"\nConstants with the least error on all {len(rows)}: " + ", ".join(f"{n} {v}" for n, v in zip(GRID, self.points[best])) +
              f"; {OWN_HOST} " + ", ".join(f"{n} {v}" for n, v in zip(GRID, self.points[best_own])))
        print("\n| left out, and asked for | TTFT | TTFT unsaturated | TPOT | H200 TTFT | H200 TPOT | Blackwell TTFT | Blackwell TPOT |")
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        study = []

        def line(name, error):
            cells = [error[:, 0], error[~self.saturated, 0], error[:, 1], error[hopper, 0], error[hopper, 1], error[~hopper, 0], error[~hopper, 1]]
            print(f"| {name} | " + " | ".join(f"{100 * cell.mean():.1f} %" for cell in cells) + " |")

        line("nothing (the constants of the program)", self.default_error)
        for kind, keys in kinds.items():
            error, folds = self.leave_out(keys)
            line(kind, error)
            study.append({"kind": kind, "ttft_mape": float(error[:, 0].mean()), "tpot_mape": float(error[:, 1].mean()), "folds": folds if len(folds) < 10 else []})
        line("aiconfigurator 0.12", peer)
        return study


def picture(rows, peer, what, title):
    points = []
    for row in rows:
        other = peer.get(row["source"].split(":")[-1])
        measured = row[f"measured_{what}_ms"]
        for whose, value in (("dsaperf", row[f"{what}_ms"]), ("aiconfigurator 0.12", other and float(other[f"peer_{what}_ms"]))):
            if value and measured:
                points.append({"measured": measured, "estimated": value, "whose": whose, "card": row["system"]})
    limits = [min(min(p["measured"], p["estimated"]) for p in points) * 0.9, max(max(p["measured"], p["estimated"]) for p in points) * 1.1]
    axis = {"type": "quantitative", "scale": {"type": "log", "domain": limits}}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json", "title": title, "width": 420, "height": 420,
        "layer": [
            {"data": {"values": [{"x": limits[0], "y": limits[0]}, {"x": limits[1], "y": limits[1]}]},
             "mark": {"type": "line", "color": "#999", "strokeDash": [4, 4]},
             "encoding": {"x": {"field": "x", **axis, "title": "measured, ms"}, "y": {"field": "y", **axis, "title": "estimated, ms"}}},
            {"data": {"values": points}, "mark": {"type": "point", "filled": True, "size": 50, "opacity": 0.75},
             "encoding": {"x": {"field": "measured", **axis}, "y": {"field": "estimated", **axis},
                          "color": {"field": "whose", "type": "nominal", "title": None}, "shape": {"field": "card", "type": "nominal"}}},
        ],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("folder", help="holds silicon_dsa_train.csv and peer_aiconfigurator_0.12.csv")
    parser.add_argument("--plots", required=True)
    arguments = parser.parse_args()
    measured = os.path.join(arguments.folder, "silicon_dsa_train.csv")
    study = Study(arguments.program, measured, os.path.join(arguments.folder, "peer_aiconfigurator_0.12.csv"))
    os.makedirs(arguments.plots, exist_ok=True)
    with open(os.path.join(arguments.plots, "study.json"), "w") as file:
        json.dump({"format": "dsaperf.accuracy_study.1", "left_out": study.run()}, file, indent=1)
        file.write("\n")
    try:
        import vl_convert
    except ImportError:
        print("\nNo pictures: pip install vl-convert-python into the environment of scripts/setup")
        return
    for what, title in (("ttft", "Time to first token: GLM-5 on SGLang"), ("tpot", "Time a token: GLM-5 on SGLang")):
        spec = picture(study.rows, study.peer, what, title)
        with open(os.path.join(arguments.plots, f"{what}.vl.json"), "w") as file:
            json.dump(spec, file, indent=1)
            file.write("\n")
        with open(os.path.join(arguments.plots, f"{what}.svg"), "w") as file:
            file.write(vl_convert.vegalite_to_svg(spec))


if __name__ == "__main__":
    main()
