"""Runs one command on a target and leaves no process of it running; sent as text, needs only Python 3.8.

Its argument is an order in JSON: arguments, folder, limit in seconds, variables. The command's output goes to
stdout; the last line of stderr is a report in JSON. The command and its descendants are killed at the time
limit, when the command ends, and when stdin closes, which happens when the caller is killed or the connection
breaks. The report has the peak of the resident memory of the command and its descendants.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from typing import Any

PR_SET_CHILD_SUBREAPER = 36
SAMPLE_SECONDS = 0.05  # least time between two samples of memory
SAMPLE_SHARE = 0.02  # of a processor that sampling may use


def adopt_orphans() -> None:
    """Become the parent of orphaned descendants, where the system supports it (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def parents() -> dict[int, int]:
    """Map each process to its parent; empty where the system has no /proc."""
    found = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        path = f"/proc/{name}/stat"
        with contextlib.suppress(OSError, ValueError, IndexError), open(path, "rb") as stream:
            found[int(name)] = int(stream.read().rpartition(b")")[2].split()[1])
    return found


def children() -> list[int]:
    """List the processes whose parent is this one."""
    return [process for process, parent in parents().items() if parent == os.getpid()]


def descendants() -> list[int]:
    """List the descendants of this process."""
    below: dict[int, list[int]] = {}
    for process, parent in parents().items():
        below.setdefault(parent, []).append(process)
    found = below.get(os.getpid(), [])
    for process in found:
        found.extend(below.get(process, ()))
    return found


def resident(process: int) -> int:
    """Bytes of a process that are in memory; 0 where it has ended."""
    with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{process}/statm", "rb") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


class Memory(threading.Thread):
    """Samples the memory of this process's descendants; a page that several have counts for each."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.largest, self.ended = 0, threading.Event()

    def run(self) -> None:
        """Sample until the command has ended, the less often the more a sample costs."""
        pause = 0.0
        while not self.ended.wait(pause):
            start = time.thread_time()
            self.largest = max(self.largest, sum(map(resident, descendants())))
            pause = max(SAMPLE_SECONDS, (time.thread_time() - start) / SAMPLE_SHARE)

    def peak(self) -> int:
        """Bytes of the largest sample, or of the largest process, which the system measures exactly."""
        self.ended.set()
        self.join()
        unit = 1 if sys.platform == "darwin" else 1024
        return max(self.largest, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit)


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """Kill a command's process group, and then descendants outside the group, until none is left."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    left = children()
    while left:
        for child in left:
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
        left = children()


def end_with_stdin(process: subprocess.Popen[bytes]) -> None:
    """Kill the command when stdin closes."""
    while os.read(0, 4096):
        pass
    kill_all(process)
    os._exit(1)


def variables(changes: dict[str, str]) -> dict[str, str]:
    """Return the environment variables for the command, without the user's Python paths."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    kept.update(PYTHONNOUSERSITE="1", PYTHONDONTWRITEBYTECODE="1", PYTHONUNBUFFERED="1")
    kept.update(changes)
    return kept


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Run the command of an order; return the report."""
    start = time.monotonic()
    try:
        process = subprocess.Popen(
            order["arguments"],
            cwd=order["folder"],
            env=variables(order["variables"]),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return {"error": f"{error.filename}: {error.strerror}"}
    threading.Thread(target=end_with_stdin, args=(process,), daemon=True).start()
    memory = Memory()
    memory.start()
    timed_out = False
    try:
        process.wait(order["limit"])
    except subprocess.TimeoutExpired:
        timed_out = True
    seconds = time.monotonic() - start
    kill_all(process)
    return {
        "status": process.returncode,
        "timed_out": timed_out,
        "seconds": seconds,
        "peak_memory": memory.peak(),
    }


if __name__ == "__main__":
    adopt_orphans()
    report = run(json.loads(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.write("\n" + json.dumps(report) + "\n")
    sys.stderr.flush()
    os._exit(0)  # a thread is still reading stdin
