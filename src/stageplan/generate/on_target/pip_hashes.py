"""Prints the checksums of packages from a report of pip, and removes it; sent as text, needs only Python 3.8.

Its argument is the report's path. The last line of its output is JSON: "name==version" -> SHA-256 of what was
installed; nothing where there is no report, or a package without a checksum.
"""

from __future__ import annotations

import json
import os
import re
import sys
from typing import Any


def hashes(report: dict[str, Any]) -> dict[str, str]:
    """Return the checksums of a report's packages."""
    found = {}
    for package in report["install"]:
        checksum = package["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        name = re.sub(r"[-_.]+", "-", package["metadata"]["name"]).lower()
        if not checksum:
            return {}
        found[f"{name}=={package['metadata']['version']}"] = checksum
    return found


if __name__ == "__main__":
    found = {}
    if os.path.exists(sys.argv[1]):
        with open(sys.argv[1], encoding="utf-8") as stream:
            found = hashes(json.load(stream))
        os.remove(sys.argv[1])
    print("\n" + json.dumps(found))
