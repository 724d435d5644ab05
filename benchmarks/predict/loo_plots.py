#!/usr/bin/env python3
"""Pictures of `dsaperf db loo`: error by regime and by axis, predicted against measured, coverage.

    dsaperf db loo --csv points.csv
    python3 benchmarks/predict/loo_plots.py points.csv docs/images/predict

Writes a Vega-Lite specification with its data and an SVG of each. Needs vl-convert-python (PyPI).
"""
import csv
import json
import pathlib
import random
import sys

import vl_convert

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
METHODS = {"domain": ["compatible", "stages"], "range": ["#b0b0b0", "#2266aa"]}


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def read(path):
    rows = []
    with open(path) as f:
        for r in csv.DictReader(f):
            if r["population"]:
                continue
            r["table"] = f"{r['backend']} {r['phase']}"
            r["error"] = abs(float(r["predicted_ms"]) / float(r["measured_ms"]) - 1) * 100
            r["inside"] = bool(r["low_ms"]) and float(r["low_ms"]) <= float(r["measured_ms"]) <= float(r["high_ms"])
            rows.append(r)
    return rows


def grouped(rows, *keys):
    groups = {}
    for r in rows:
        groups.setdefault(tuple(r[k] for k in keys), []).append(r)
    return groups


def errors(rows, by):
    """Median to 90th percentile of each group, a bar with a tick at the median."""
    data = [dict(zip(("table", by, "method"), key), median=round(quantile([r["error"] for r in g], 0.5), 3),
                 p90=round(quantile([r["error"] for r in g], 0.9), 3)) for key, g in sorted(grouped(rows, "table", by, "method").items())]
    x = {"field": "median", "type": "quantitative", "scale": {"type": "log"}, "title": "absolute relative error, median to 90th percentile, %"}
    y = {"field": by, "type": "nominal", "title": None}
    return {"data": {"values": data}, "facet": {"row": {"field": "table", "title": None, "header": {"labelAngle": 0, "labelAlign": "left"}}},
            "spec": {"width": 320, "layer": [
                {"mark": {"type": "bar", "height": 7},
                 "encoding": {"x": x, "x2": {"field": "p90"}, "y": y, "yOffset": {"field": "method"},
                              "color": {"field": "method", "type": "nominal", "scale": METHODS, "title": None}}}]}}


def against(rows):
    chosen = [r for r in rows if r["method"] == "stages" and r["left_out"] == "point"]
    random.Random(1).shuffle(chosen)
    data = [{"measured": float(f"{float(r['measured_ms']):.4g}"), "predicted": float(f"{float(r['predicted_ms']):.4g}"), "table": r["table"]}
            for r in chosen[:250]]
    axis = {"type": "quantitative", "scale": {"type": "log"}}
    return {"width": 360, "height": 360, "data": {"values": data},
            "mark": {"type": "point", "size": 9, "opacity": 0.6},
            "encoding": {"x": {"field": "measured", "title": "measured, ms", **axis}, "y": {"field": "predicted", "title": "predicted without the row, ms", **axis},
                         "color": {"field": "table", "type": "nominal", "title": None}}}


def coverage(rows):
    chosen = [r for r in rows if r["method"] == "stages"]
    data = [{"table": table, "left_out": left_out, "covered": round(100 * sum(r["inside"] for r in g) / len(g), 1)}
            for (table, left_out), g in sorted(grouped(chosen, "table", "left_out").items())]
    return {"data": {"values": data}, "layer": [
        {"mark": {"type": "rect", "color": "#dceede"}, "data": {"values": [{"from": 85, "to": 95}]},
         "encoding": {"x": {"field": "from", "type": "quantitative"}, "x2": {"field": "to"}}},
        {"mark": {"type": "point", "filled": True, "size": 60},
         "encoding": {"x": {"field": "covered", "type": "quantitative", "scale": {"domain": [75, 100]}, "title": "rows in their 90 % interval, %"},
                      "y": {"field": "table", "type": "nominal", "title": None},
                      "color": {"field": "left_out", "type": "nominal", "title": "left out"}}}]}


def main():
    source, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    rows = read(source)
    pictures = {"error_by_regime": errors([r for r in rows if r["left_out"] == "point"], "regime"),
                "error_by_axis": errors([r for r in rows if r["left_out"] == "slice"], "axis"),
                "predicted_against_measured": against(rows), "coverage": coverage(rows)}
    for name, picture in pictures.items():
        specification = {"$schema": SCHEMA, "background": "white", **picture}
        (folder / f"{name}.vl.json").write_text(json.dumps(specification) + "\n")
        (folder / f"{name}.svg").write_text(vl_convert.vegalite_to_svg(specification))


if __name__ == "__main__":
    main()
