"""Lists or removes directories that runs made on a target; sent as text, needs only Python 3.8.

Its arguments are "list" or "remove", a directory, "run" where that is a run's or "runs" where it holds those
of runs, a run's id or "" for any, the name of the marker, and a pattern of the names that runs give to what
they make. The last line of its output is a list in JSON: path, bytes, and why a directory stays, if it does.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys


def id_of(folder: str, marker: str) -> str | None:
    """Return the id of the run that made a directory; None without a valid marker."""
    path = os.path.join(folder, marker)
    if not os.path.isfile(path) or os.path.islink(path):
        return None
    with open(path, encoding="ascii", errors="replace") as stream:
        match = re.fullmatch(r"stageplan run ([0-9a-f]{32})\n", stream.read(100))
    return match and match[1]


def works_in(folder: str) -> bool:
    """Whether a process of this machine has a working directory below a folder, where the system tells."""
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        try:
            there = os.readlink(f"/proc/{int(name)}/cwd")
        except (OSError, ValueError):
            continue
        if os.path.commonpath([there, folder]) == folder:
            return True
    return False


def reason_to_stay(folder: str, run: str, marker: str, names: str) -> str:
    """Say why a directory must not be removed; empty where it may be."""
    if os.path.islink(folder) or not os.path.isdir(folder):
        return "it is not a directory"
    found = id_of(folder, marker)
    if found is None:
        return f"it has no valid {marker}"
    if run and found != run:
        return "it was made by another run"
    others = sorted(name for name in os.listdir(folder) if name != marker and not re.fullmatch(names, name))
    if others:
        return f"it holds {others[0]}, which no run made"
    return "a process is working in it" if works_in(os.path.realpath(folder)) else ""


def size_of(folder: str) -> int:
    """Sum the bytes of the files below a folder; links have none."""
    if os.path.islink(folder):
        return 0
    paths = (os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
    return sum(os.lstat(path).st_size for path in paths)


def directories(directory: str, kind: str) -> list[str]:
    """Return a run's directory, or those in a directory; none where that is absent."""
    if not os.path.lexists(directory):
        return []
    names = [""] if kind == "run" else sorted(os.listdir(directory))
    return [os.path.join(os.path.abspath(directory), name).rstrip("/") for name in names]


if __name__ == "__main__":
    action, directory, kind, run, marker, names = sys.argv[1:]
    found = []
    for folder in directories(directory, kind):
        reason = reason_to_stay(folder, run, marker, names)
        found.append([folder, size_of(folder), reason])
        if action == "remove" and not reason:
            shutil.rmtree(folder)
    print("\n" + json.dumps(found))
