"""Arrow's C++ libraries come with pyarrow. They are loaded when a table is about to be opened, not before."""

from __future__ import annotations

import os

_loaded = False


def load() -> None:
    """Makes libarrow and libparquet known to this process, so that our Parquet reader finds them.

    Beside each other in one site-packages the two packages need no help; this is for every other place.
    """
    global _loaded
    if _loaded:
        return
    _loaded = True
    beside = os.path.join(os.path.dirname(os.path.dirname(__file__)), "pyarrow")
    if os.path.isdir(beside):
        return
    import ctypes
    import importlib.util
    import pathlib

    found = importlib.util.find_spec("pyarrow")
    if found is None or found.origin is None:
        return  # the reader says what is missing
    folder = pathlib.Path(found.origin).parent
    for name in ("libarrow.so.*", "libparquet.so.*"):
        for library in sorted(folder.glob(name))[:1]:
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
