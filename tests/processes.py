"""What tests of processes share: whether one is there, and commands that are sent a signal."""

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]

# Shells and other runners may have these ignored in what they start.
_DEFAULTS = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
"""


@contextmanager
def started(code, *argv, **options):
    """Start Python code; give its process once it has said ``ready`` on stderr, and the words after that."""
    command = [sys.executable, "-c", _DEFAULTS + code, *map(str, argv)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, **options) as process:
        try:
            lines = (line for line in process.stderr if not line.startswith("stageplan: note: "))
            first, *said = next(lines, "").split() or [process.stderr.read()]
            assert first == "ready", first
            yield process, said
        finally:
            process.kill()


def alive(number):
    try:
        os.kill(number, 0)
        state = Path(f"/proc/{number}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):  # also where it ends between the two
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


def gone(number):
    """Whether a process ends within 5 seconds."""
    for _ in range(100):
        if not alive(number):
            return True
        time.sleep(0.05)
    return False


def wait_for(condition, process=None, seconds=120.0):
    """Return what a condition gives once it holds; fail after so many seconds, or if the process ended."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert process is None or process.poll() is None, "the process ended before the condition held"
        assert time.monotonic() < until, f"the condition did not hold within {seconds:g} s"
        time.sleep(0.05)
    return found


def read_until(descriptor, *words, seconds=120.0):
    """Read from a terminal until it has shown all words; fail after so many seconds."""
    until, shown = time.monotonic() + seconds, b""
    while not all(word in shown for word in words):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, until - time.monotonic()))
        assert ready, f"{words} were not shown within {seconds:g} s, but {shown!r}"
        shown += os.read(descriptor, 4096)
    return shown
