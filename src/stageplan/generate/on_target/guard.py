"""Runs one command on a target and leaves no process of it running; sent as text, needs only Python 3.8.

Its argument is an order in JSON: arguments, folder, limit in seconds, variables. The command's output goes to
stdout; the last line of stderr is a report in JSON. The command and its descendants are killed at the time
limit, when the command ends, and when stdin closes, which happens when the caller is killed or the connection
breaks.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Become the parent of orphaned descendants, where the system supports it (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> list[int]:
    """List the processes whose parent is this one."""
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(f"/proc/{int(name)}/stat", "rb") as stream:
                parent = int(stream.read().rpartition(b")")[2].split()[1])
            if parent == os.getpid():
                found.append(int(name))
    return found


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
    timed_out = False
    try:
        process.wait(order["limit"])
    except subprocess.TimeoutExpired:
        timed_out = True
    seconds = time.monotonic() - start
    kill_all(process)
    return {"status": process.returncode, "timed_out": timed_out, "seconds": seconds}


if __name__ == "__main__":
    adopt_orphans()
    report = run(json.loads(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.write("\n" + json.dumps(report) + "\n")
    sys.stderr.flush()
    os._exit(0)  # a thread is still reading stdin
