"""A record that documents quote: where its rows come from, then a line a row."""
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[1]


def write(path, head, rows):
    """`head`: "format" and "command" at least; the commit is added."""
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    lines = ",\n  ".join(map(json.dumps, rows))
    pathlib.Path(path).write_text(json.dumps({**head, "commit": commit}, indent=1)[:-2] + ',\n "rows": [\n  ' + lines + "\n ]\n}\n")
