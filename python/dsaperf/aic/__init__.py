"""Our tables in an AIConfigurator installation, as a system of their own.

    python -m dsaperf.aic install --tables ROWS            # ROWS: a folder that `dsaperf collect` wrote
    python -m dsaperf.aic remove

`install` puts ``h200_sxm_dsaperf`` beside ``h200_sxm`` in AIConfigurator's ``systems`` folder: our DSA tables under the current
version of a backend, every other table by a link to ``h200_sxm``'s, which stay as they are. Nothing of another framework's DSA
rows is in reach of the new system, so nothing is filled in silently. Then the package is asked (:func:`check`). ``remove``
leaves the folder as it was.
"""

from dsaperf.aic._check import Checked, check
from dsaperf.aic._install import Installed, install, remove, systems_folder

__all__ = ["Checked", "Installed", "check", "install", "remove", "systems_folder"]
