"""Makes a virtual environment, in place of an earlier one of the run; sent as text, needs only Python 3.8.

Its arguments are the folder, the name of the marker, the marker's text, and the name of the record. A folder
with another marker or none, or with files that belong neither to the environment nor to its packages, is not
changed, and the last line of stderr says so.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import sys
import venv
from importlib import metadata


def files_of(folder: str) -> set[str]:
    """List the files and links below a folder by their paths in it, without compiled Python."""
    found: set[str] = set()
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        folders[:] = [name for name in folders if name != "__pycache__"]
        found.update(os.path.relpath(os.path.join(place, name), folder) for name in [*names, *links])
    return found


def packaged(folder: str) -> set[str]:
    """List the files of the packages that are installed in an environment."""
    found: set[str] = set()
    for path in glob.glob(os.path.join(folder, "lib*", "python*", "site-packages")):
        for distribution in metadata.distributions(path=[path]):
            for file in distribution.files or ():
                located = os.path.normpath(str(distribution.locate_file(file)))
                found.add(os.path.relpath(located, folder))
    return found


def text_of(path: str) -> str:
    """Return a file's text; empty where it is absent."""
    if not os.path.isfile(path):
        return ""
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()


def clear(folder: str, marker: str, text: str, record: str) -> None:
    """Empty the folder of an earlier environment, except its marker; exit where that is not allowed."""
    names = set(os.listdir(folder)) - {marker}
    if not names:
        return
    if text_of(os.path.join(folder, marker)) != text:
        sys.exit(f"{folder} was not made by this run; rename or remove it")
    recorded = text_of(os.path.join(folder, record))
    if recorded:  # absent where making it was interrupted
        known = set(json.loads(recorded)) | packaged(folder) | {marker, record}
        others = sorted(files_of(folder) - known)
        if others:
            sys.exit(f"{folder} holds {others[0]}, which this run did not make; move it elsewhere")
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.remove(path)


if __name__ == "__main__":
    folder, marker, text, record = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    clear(folder, marker, text, record)
    with open(os.path.join(folder, marker), "w", encoding="utf-8") as stream:
        stream.write(text)
    venv.main([folder])
    files = sorted(files_of(folder))
    beside = os.path.join(folder, f"{record}.part")
    with open(beside, "w", encoding="utf-8") as stream:
        json.dump(files, stream)
    os.replace(beside, os.path.join(folder, record))
