"""Putting a system into AIConfigurator's folder, and taking it out again."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from typing import NamedTuple

from dsaperf._error import Error
from dsaperf._program import program

__all__ = ["Installed", "install", "remove", "systems_folder"]

RECORD = "dsaperf_installed.json"
_FORMAT = "dsaperf.aic_install.1"


class Installed(NamedTuple):
    """What an installation brought."""

    systems: pathlib.Path
    system: str  # "h200_sxm_dsaperf"
    backend: str
    version: str
    rows: int
    files: tuple[str, ...]  # relative to systems, links included
    warnings: tuple[str, ...]  # questions that the tables will not answer


def systems_folder(given: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """The folder given, else the one of this Python's aiconfigurator-core."""
    if given is not None:
        folder = pathlib.Path(given)
    else:
        found = importlib.util.find_spec("aiconfigurator_core")
        places = list(found.submodule_search_locations or ()) if found is not None else []
        if not places:
            raise Error("aiconfigurator-core is not installed in this Python; name its systems folder with --systems", "not_found")
        folder = pathlib.Path(places[0]) / "systems"
    if not (folder / "data").is_dir():
        raise Error(f"{folder}: no systems folder of AIConfigurator (it has no data)", "not_found")
    return folder.resolve()


def _hash(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _export(
    places: Sequence[pathlib.Path], stage: pathlib.Path, systems: pathlib.Path, system: str, backend: str, allow_fake: bool
) -> tuple[int, tuple[str, ...]]:
    command = [program(), "db", "export", *map(str, places), "--aiconfigurator", str(stage), "--system", system]
    command += ["--backend", backend, "--systems", str(systems), "--json"]
    if allow_fake:
        command.append("--allow-fake")
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        message = next((line for line in run.stderr.splitlines() if line.startswith("error: ")), run.stderr.strip())
        raise Error(message.removeprefix("error: "), "invalid_argument")
    document = json.loads(run.stdout)
    return document["rows"], tuple(document["warnings"])


def _sources(tables: Sequence[str | os.PathLike[str]] | str | os.PathLike[str] | None) -> list[pathlib.Path]:
    if tables is None:
        return []  # the program's own choice: those that are shipped
    given = [tables] if isinstance(tables, (str, os.PathLike)) else list(tables)
    if not given:
        raise Error("no tables: name a folder that `dsaperf collect` wrote", "invalid_argument")
    for place in given:
        if not os.path.exists(place):
            raise Error(f"{os.fspath(place)}: there is no such folder", "not_found")
    return [pathlib.Path(place) for place in given]


def install(
    tables: Sequence[str | os.PathLike[str]] | str | os.PathLike[str] | None = None,
    *,
    systems: str | os.PathLike[str] | None = None,
    system: str = "h200_sxm",
    backend: str = "sglang",
    allow_fake: bool = False,
) -> Installed:
    """Puts the rows of ``tables`` (folders that ``dsaperf collect`` wrote; default: what ships) into ``systems`` as ``SYSTEM_dsaperf``.

    An earlier installation of ours is replaced; anything else of that name is left alone and is an error. The system's
    YAML file comes last, so AIConfigurator sees all of it or nothing.
    """
    root = systems_folder(systems)
    if not (root / f"{system}.yaml").exists():
        known = ", ".join(sorted(path.stem for path in root.glob("*.yaml") if (root / "data" / path.stem).is_dir()))
        raise Error(f"{root}: no system {system}; there are {known}", "not_found")
    places = _sources(tables)
    own = f"{system}_dsaperf"
    data, yaml = root / "data" / own, root / f"{own}.yaml"
    if (data.exists() or yaml.exists()) and not (data / RECORD).exists():
        raise Error(f"{root}: {own} is there and was not put there by dsaperf.aic", "invalid_argument")

    with tempfile.TemporaryDirectory(dir=root / "data", prefix=f".{own}.") as folder:
        stage = pathlib.Path(folder)
        rows, warnings = _export(places, stage / "export", root, system, backend, allow_fake)
        built = stage / "export" / "data" / own
        files: dict[str, str] = {}
        for path in sorted(built.iterdir()):
            if path.is_symlink():  # to the installed tables: relative, so that the folder may be moved as a whole
                path.unlink()
                path.symlink_to(os.path.join("..", system, path.name), target_is_directory=True)
                files[f"data/{own}/{path.name}"] = "link"
        for path in sorted(built.rglob("*")):
            if path.is_file() and not any(part.is_symlink() for part in (path, *path.parents)):
                files[f"data/{own}/{path.relative_to(built)}"] = _hash(path)
        staged_yaml = stage / "export" / f"{own}.yaml"
        files[yaml.name] = _hash(staged_yaml)
        version = next(path.parent.name for path in built.rglob("collection_meta.yaml") if "sparse_attention" in path.parts)
        record = {"format": _FORMAT, "system": own, "beside": system, "backend": backend, "version": version}
        (built / RECORD).write_text(json.dumps({**record, "rows": rows, "files": files}, indent=1) + "\n")
        if data.exists():
            remove(systems=root, system=system)
        built.rename(data)
        staged_yaml.rename(yaml)
    return Installed(root, own, backend, version, rows, tuple(sorted(files)), warnings)


def installed(root: pathlib.Path, system: str) -> dict[str, object]:
    """The record of an installation."""
    path = root / "data" / f"{system}_dsaperf" / RECORD
    if not path.exists():
        raise Error(f"{root}: no {system}_dsaperf that dsaperf.aic put there", "not_found")
    try:
        record: dict[str, object] = json.loads(path.read_text())
    except ValueError as error:
        raise Error(f"{path}: {error}", "parse") from None
    if record.get("format") != _FORMAT:
        raise Error(f"{path}: format {record.get('format')} is not {_FORMAT}; a later dsaperf wrote it", "unsupported")
    return record


def remove(*, systems: str | os.PathLike[str] | None = None, system: str = "h200_sxm", force: bool = False) -> tuple[str, ...]:
    """Takes ``SYSTEM_dsaperf`` out again; what was removed. A file that was changed or added since is left, with all the
    rest, and is an error unless ``force``."""
    root = systems_folder(systems)
    record = installed(root, system)
    files = record["files"]
    assert isinstance(files, dict)
    data = root / "data" / f"{system}_dsaperf"
    changed = []
    for name, expected in files.items():
        path = root / name
        if path.is_symlink() != (expected == "link") or (path.is_file() and expected not in ("link", _hash(path))):
            changed.append(name)
    present = {f"data/{data.name}/{path.relative_to(data)}" for path in data.rglob("*") if path.is_symlink() or path.is_file()}
    below_links = tuple(f"{name}/" for name, kind in files.items() if kind == "link")
    added = sorted(name for name in present - set(files) if not name.startswith(below_links) and not name.endswith(f"/{RECORD}"))
    if (changed or added) and not force:
        raise Error(
            f"{root}: changed or added since the installation: {', '.join(changed + added)}; --force removes it nevertheless",
            "invalid_argument",
        )
    # First what AIConfigurator looks for. Links are unlinked, never followed.
    (root / f"{data.name}.yaml").unlink(missing_ok=True)
    for path in data.iterdir():
        if path.is_symlink():
            path.unlink()
    shutil.rmtree(data)
    return tuple(sorted(files))
