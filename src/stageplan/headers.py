"""The directory of the header for compiled callers."""

from pathlib import Path


def get_include() -> str:
    """Return the directory to include in the build of code that calls `stageplan.capi`.

    Examples
    --------
    >>> import os
    >>> import stageplan as sp
    >>> os.listdir(os.path.join(sp.get_include(), "stageplan"))
    ['capi.h']
    """
    return str(Path(__file__).with_name("include"))
