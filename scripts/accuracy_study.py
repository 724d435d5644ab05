"""How far the host's constants carry: refitted with parts of the deployments left out, and asked for those.

Called by `scripts/accuracy --study`. Estimates the aggregated deployments of GLM-5 on SGLang, and on vLLM, on a grid of
constants (`dsaperf estimate --host`), interpolates between, picks the constants with the least mean error of TTFT and TPOT
on what is kept, and prints the error on what was left out. Draws two pictures of SGLang's (vl-convert-python) into --plots.
"""

import argparse
import csv
import dataclasses
import itertools
import json
import os
import subprocess
import tempfile

import numpy as np



@dataclasses.dataclass(frozen=True)
class Engine:
    """Whose constants are fitted, and where to look for them."""

    name: str
    grid: dict  # values asked of the program; in between, answers are interpolated (they are close to linear)
    fine: dict  # values tried by a fit
    own_host: str = ""  # cards whose servers have constants of their own (data/serving/host.csv), and which
    own_constants: tuple = ()


SGLANG = Engine(
    "sglang",
    {"graph_gap_us": [40, 80], "launch_us": [0, 400, 800, 1200, 1600], "request_ms": [0, 60, 120], "text_us": [0, 20, 40]},
    {"graph_gap_us": range(40, 81, 10), "launch_us": range(0, 1601, 200), "request_ms": range(0, 121, 20), "text_us": range(0, 41, 10)},
    "b300_sxm", ("launch_us", "request_ms"),
)
VLLM = Engine(
    "vllm",
    {"graph_gap_us": [0, 40], "launch_us": [0, 800], "request_ms": [0, 60], "text_us": [0, 5, 10, 15],
     "prefill_factor": [1, 1.05, 1.1, 1.15, 1.2]},
    {"graph_gap_us": range(0, 41, 10), "launch_us": range(0, 801, 200), "request_ms": range(0, 61, 10), "text_us": [0, 5, 10, 15],
     "prefill_factor": [1 + 0.025 * step for step in range(9)]},
)


def estimate(program, path, host):
    command = [program, "estimate", "--from", path, "--json"] + (["--host", host] if host else [])
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["rows"]


def weights(axis, value):
    """The two grid values around one, and how much of each."""
    below = max(0, min(len(axis) - 2, int(np.searchsorted(axis, value)) - 1))
    part = (value - axis[below]) / (axis[below + 1] - axis[below])
    return ((below, 1 - part), (below + 1, part))


class Study:
    def __init__(self, program, measured, engine, is_asked):
        self.engine = engine
        with open(measured, newline="") as file:
            reader = csv.DictReader(file)
            kept = [row for row in reader if is_asked(row)]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "deployments.csv")
            with open(path, "w", newline="") as file:
                writer = csv.DictWriter(file, reader.fieldnames)
                writer.writeheader()
                writer.writerows(kept)
            self.rows = estimate(program, path, "")
            answers = []
            for point in itertools.product(*engine.grid.values()):
                host = ",".join(f"{name}={value}" for name, value in zip(engine.grid, point))
                answers.append([(row["ttft_ms"], row["tpot_ms"]) for row in estimate(program, path, host)])
        grid = np.array(answers).reshape(*(len(axis) for axis in engine.grid.values()), len(self.rows), 2)
        truth = np.array([(row["measured_ttft_ms"], row["measured_tpot_ms"]) for row in self.rows])
        self.points = list(itertools.product(*engine.fine.values()))
        self.error = np.array([np.abs(self.interpolate(grid, point) / truth - 1) for point in self.points])
        self.default_error = np.abs(np.array([(row["ttft_ms"], row["tpot_ms"]) for row in self.rows]) / truth - 1)
        self.own = np.array([row["system"] == engine.own_host for row in self.rows])
        names = list(engine.fine)
        self.shared = [[point[names.index(name)] for name in names if name not in engine.own_constants] for point in self.points]
        # A run that waits for its cache says nothing about the host.
        self.saturated = truth[:, 0] > 10 * np.median(truth[:, 0])

    def interpolate(self, grid, point):
        axes = [weights(axis, value) for axis, value in zip(self.engine.grid.values(), point)]
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
            fold = {"left_out": key, "rows": int(out.sum()), "constants": self.constants(best)}
            if self.engine.own_host:
                fold[self.engine.own_host] = self.constants(best_own)
            folds.append(fold | {"ttft_mape": float(error[out, 0].mean()), "tpot_mape": float(error[out, 1].mean())})
        return error, folds

    def constants(self, point):
        return {name: round(float(value), 4) for name, value in zip(self.engine.fine, self.points[point])}

    def run(self, kinds, groups, peer=None):
        """`kinds`: what is left out, by name, as a key of each row; `groups`: errors of which rows stand beside those of all."""
        best, best_own = self.fit(np.ones(len(self.rows), bool))
        own = f"; {self.engine.own_host} {self.constants(best_own)}" if self.engine.own_host else ""
        print(f"\n{self.engine.name}: constants with the least error on all {len(self.rows)}: {self.constants(best)}{own}")
        print("\n| left out, and asked for | TTFT | TTFT unsaturated | TPOT | " + " | ".join(f"{name} TTFT | {name} TPOT" for name in groups) + " |")
        print("| --- " * (4 + 2 * len(groups)) + "|")
        study = []

        def line(name, error):
            cells = [error[:, 0], error[~self.saturated, 0], error[:, 1]]
            for rows in groups.values():
                cells += [error[rows, 0], error[rows, 1]]
            print(f"| {name} | " + " | ".join(f"{100 * cell.mean():.1f} %" for cell in cells) + " |")

        line("nothing (the constants of the program)", self.default_error)
        for kind, key in kinds.items():
            error, folds = self.leave_out([key(row) for row in self.rows])
            line(kind, error)
            study.append({"kind": kind, "ttft_mape": float(error[:, 0].mean()), "tpot_mape": float(error[:, 1].mean()), "folds": folds if len(folds) < 10 else []})
        if peer is not None:
            line("aiconfigurator 0.12", peer)
        return study


def id_of(row):
    return row["source"].split(":")[-1]


def at_a_time(row):
    return f"{row['concurrency']:.0f}"


def study_sglang(program, measured, peer):
    study = Study(program, measured, SGLANG, lambda row: id_of(row) in peer)
    hopper = np.array([row["system"].startswith("h") for row in study.rows])
    peers = np.array([[abs(float(peer[id_of(row)][f"peer_{what}_ms"]) / row[f"measured_{what}_ms"] - 1) for what in ("ttft", "tpot")]
                      for row in study.rows])
    kinds = {
        "a deployment": lambda row: row["source"],
        "a card": lambda row: row["system"],
        "a concurrency": at_a_time,
        "a pair of isl and osl": lambda row: f"{row['isl']:.0f}/{row['osl']:.0f}",
        "a precision": lambda row: row["precision"],
    }
    return study, study.run(kinds, {"H200": hopper, "Blackwell": ~hopper}, peers)


def study_vllm(program, measured):
    study = Study(program, measured, VLLM, lambda row: row["framework"] == "vllm" and row["model"] == "GLM-5")
    kinds = {"a deployment": lambda row: row["source"], "a concurrency": at_a_time, "an isl": lambda row: f"{row['isl']:.0f}"}
    groups = {f"{number} at a time": np.array([at_a_time(row) == number for row in study.rows]) for number in ("4", "16", "48")}
    return study.run(kinds, groups)


def picture(rows, peer, what, title):
    points = []
    for row in rows:
        other = peer.get(id_of(row))
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
    with open(os.path.join(arguments.folder, "peer_aiconfigurator_0.12.csv"), newline="") as file:
        peer = {row["id"]: row for row in csv.DictReader(file)}
    study, sglang = study_sglang(arguments.program, measured, peer)
    vllm = study_vllm(arguments.program, measured)
    os.makedirs(arguments.plots, exist_ok=True)
    with open(os.path.join(arguments.plots, "study.json"), "w") as file:
        json.dump({"format": "dsaperf.accuracy_study.2", "left_out": {"sglang": sglang, "vllm": vllm}}, file, indent=1)
        file.write("\n")
    try:
        import vl_convert
    except ImportError:
        print("\nNo pictures: pip install vl-convert-python into the environment of scripts/setup")
        return
    for what, title in (("ttft", "Time to first token: GLM-5 on SGLang"), ("tpot", "Time a token: GLM-5 on SGLang")):
        spec = picture(study.rows, peer, what, title)
        with open(os.path.join(arguments.plots, f"{what}.vl.json"), "w") as file:
            json.dump(spec, file, indent=1)
            file.write("\n")
        with open(os.path.join(arguments.plots, f"{what}.svg"), "w") as file:
            file.write(vl_convert.vegalite_to_svg(spec))


if __name__ == "__main__":
    main()
