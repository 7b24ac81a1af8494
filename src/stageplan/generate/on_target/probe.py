"""Prints properties of a machine and an interpreter as JSON; sent as text, needs only Python 3.8."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from typing import Any


def text_of(path: str) -> str:
    """Return the content of a file; empty where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def processor() -> dict[str, Any]:
    """Model and instruction sets of the first processor in Linux's list."""
    found: dict[str, str] = {}
    for line in text_of("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip().lower(), value.strip())
    model = found.get("model name") or platform.processor() or platform.machine()
    return {
        "processor": model,
        "instruction_sets": (found.get("flags") or found.get("features") or "").split(),
    }


def cores() -> int:
    """Count the usable cores: by affinity and by a container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = text_of("/sys/fs/cgroup/cpu.max").partition(" ")
    return max(1, min(count, int(quota) // int(period))) if quota.isdigit() else count


def memory() -> int:
    """Bytes of usable main memory: of the machine, within a container's limit."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = text_of("/sys/fs/cgroup/memory.max").strip()
    return min(total, int(limit)) if limit.isdigit() else total


def accelerators() -> list[dict[str, Any]]:
    """Name, bytes of memory and driver of each NVIDIA accelerator; empty without nvidia-smi."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        printed = subprocess.run(query, capture_output=True, check=True, timeout=60, text=True).stdout
        rows = [line.split(", ") for line in printed.splitlines() if line.strip()]
        return [{"name": name, "memory": int(mib) * 2**20, "driver": driver} for name, mib, driver in rows]
    return []


def packages() -> dict[str, str]:
    """Version of each installed package; for duplicates, of the one that is imported."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(name.lower().replace("_", "-").replace(".", "-"), distribution.version)
    return found


if __name__ == "__main__":
    facts = {
        "name": platform.node(),
        "system": platform.platform(),
        "machine": platform.machine(),
        **processor(),
        "cores": cores(),
        "memory": memory(),
        "accelerators": accelerators(),
        "python": platform.python_version(),
        "executable": sys.executable,
        "makes_environments": bool(find_spec("venv") and find_spec("ensurepip")),
        "packages": packages(),
    }
    print("\n" + json.dumps(facts))
