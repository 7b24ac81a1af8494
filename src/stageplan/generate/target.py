"""The machine that a model is generated for: this one, or one that is reached over ssh."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tarfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from msgspec import Struct

from ..errors import InputError
from ..fields import printable
from .digests import digest
from .folders import MARKER, marker_text, replace, scratch
from .place import Place
from .results import StepError

TAIL = 64 * 2**10  # bytes of a command's output that are kept, at its end
GRACE = 15.0  # seconds for a target to report that a time limit was reached
COPY_LIMIT = 3600.0  # seconds for copying a folder
NOTE = "note: "  # begins a line of a command's output that belongs to its result

# Exit statuses of the OpenSSH client for its own errors, and of the script below for a foreign directory.
_SSH_ERROR, _FOREIGN = 255, 3
# Checks a directory, or makes and marks it and prints its path. Arguments: the directory, the marker's name
# and text, and "check" or "make".
_CLAIM = f"""\
set -e
[ "$4" = check ] || mkdir -p -- "$1"
[ -e "$1" ] || exit 0
cd -- "$1"
found=
[ ! -f "$2" ] || found=$(cat -- "$2")
others=$(find . ! -name . ! -name "$2" -prune)
[ "$found" = "$3" ] || [ -z "$found$others" ] || exit {_FOREIGN}
[ "$4" = make ] || exit 0
[ "$found" = "$3" ] || printf '%s\\n' "$3" > "$2"
pwd -P
"""


class TargetError(StepError):
    """The target cannot be reached, or the connection was lost."""


SKIPPED = 77  # exit status of a command that cannot do its work here, as other runners of tests have it


class Finished(Struct, frozen=True, kw_only=True):
    """Outcome of a command.

    Attributes
    ----------
    status : int
        Exit status; minus the signal's number where a signal ended it.
    output : str
        End of its output, stdout and stderr in the order of printing.
    seconds : float
        Elapsed time.
    timed_out : bool
        Whether it was killed at its time limit.
    peak_memory : int
        Bytes that it and its descendants had in memory at most: the largest sum that was sampled, in which
        a page that processes share counts for each of them, or the largest of a single process, which the
        system measures exactly. Where the system has no ``/proc``, only the latter.
    error : str
        Why it could not be run; empty where it was run.
    """

    status: int = 0
    output: str = ""
    seconds: float = 0.0
    timed_out: bool = False
    peak_memory: int = 0
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether it ended with exit status 0."""
        return not self.failure

    @property
    def failure(self) -> str:
        """How it failed, with the last line of its output; empty where it did not fail."""
        if self.error:
            return f"could not be run: {self.error}"
        if self.timed_out:
            return f"was stopped at its time limit, after {self.seconds:.3g} s"
        if self.status < 0:
            return f"was ended by signal {_signal_name(-self.status)}"
        if self.status:
            return f"ended with exit status {self.status}: {last_line(self.output)}"
        return ""

    @property
    def skipped(self) -> str:
        """Why it has left its work undone, the last line of its output; empty where it has not."""
        return last_line(self.output) or "no reason given" if self.status == SKIPPED else ""

    @property
    def notes(self) -> list[str]:
        """What it says that belongs to its result: lines of its output that begin with ``note: ``."""
        lines = self.output.splitlines()
        return [printable(line.removeprefix(NOTE)) for line in lines if line.startswith(NOTE)]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def last_line(text: str) -> str:
    """Return the last line of a text that is not blank."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it printed nothing")


class Target(ABC):
    """A machine. Folders are given by their local path, below `root`; `path` maps them to the target.

    Attributes
    ----------
    name : str
        ``"local"`` or ``"ssh:..."``.
    root : pathlib.Path
        Directory of the run on this machine.
    run_id : str
        Id of the run.
    python : str
        Interpreter on the target for programs that need no packages.
    """

    name: str
    root: Path
    run_id: str
    python: str

    @abstractmethod
    def check(self) -> None:
        """Raise ValueError unless the directory on the target is new, empty or of this run."""

    @abstractmethod
    def path(self, folder: Path) -> str:
        """Path on the target of a folder below `root`."""

    @abstractmethod
    def place(self, folder: Path) -> None:
        """Copy a scratch folder to the target, and replace an earlier copy."""

    @abstractmethod
    def collect(self, folder: Path) -> None:
        """Copy a scratch folder back from the target, and replace the local one."""

    @abstractmethod
    def remove(self, folder: Path) -> None:
        """Remove the copy of a folder on the target."""

    @abstractmethod
    def _command(self, arguments: Sequence[str]) -> list[str]:
        """Return the local command that runs a command on the target."""

    @abstractmethod
    def _failure_of(self, status: int, stderr: str) -> str:
        """Say why there is no report; raise TargetError where the target is unreachable."""

    def run(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        limit: float,
        variables: Mapping[str, str] | None = None,
    ) -> Finished:
        """Run a command in a folder of the target, without a shell, and leave no process of it running.

        Parameters
        ----------
        arguments : sequence of str
            The program and its arguments.
        folder : pathlib.Path
            Working directory, by its local path.
        limit : float
            Seconds after which it and its descendants are killed.
        variables : mapping of str to str, optional
            Additional environment variables.

        Returns
        -------
        Finished
            Its outcome.

        Raises
        ------
        TargetError
            The target cannot be reached, or the connection is lost.
        """
        order = {
            "arguments": list(arguments),
            "folder": self.path(folder),
            "limit": limit,
            "variables": dict(variables or {}),
        }
        guard = (resources.files(__package__) / "on_target" / "guard.py").read_text(encoding="utf-8")
        reached = self._command([self.python, "-I", "-c", guard, json.dumps(order)])
        status, output, stderr = _run_process(reached, limit + GRACE, self.name)
        try:
            return Finished(output=output, **json.loads(last_line(stderr)))
        except (ValueError, TypeError):
            return Finished(output=output, error=self._failure_of(status, stderr))


class Local(Target):
    """The machine that stageplan runs on, with the same paths."""

    def __init__(self, place: Place, root: Path, run_id: str) -> None:
        self.name, self.root, self.run_id = place.target, root, run_id
        self.python = place.environment.python or sys.executable

    def check(self) -> None:
        """No-op for a local target: `root` itself was checked."""

    def path(self, folder: Path) -> str:
        """Path on the target of a folder below `root`: the same."""
        return str(folder)

    def place(self, folder: Path) -> None:
        """No-op for a local target."""

    def collect(self, folder: Path) -> None:
        """No-op for a local target."""

    def remove(self, folder: Path) -> None:
        """No-op for a local target."""

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, *arguments[1:]]  # the interpreter that makes environments may be absent

    def _failure_of(self, status: int, stderr: str) -> str:
        return f"the guard ended with exit status {status}: {last_line(stderr)}"


class Ssh(Target):
    """A machine that the OpenSSH client reaches without asking for a password."""

    def __init__(self, place: Place, root: Path, run_id: str) -> None:
        self.name, self.root, self.run_id = place.target, root, run_id
        self.python = place.environment.python or "python3"
        self.directory = place.ssh.directory or f".stageplan/{place.name}-{_origin(root, run_id)}"
        host, port = _host_and_port(place.target)
        options = ["BatchMode=yes", f"ConnectTimeout={place.ssh.connect_timeout}", "ServerAliveInterval=5"]
        self._ssh = ["ssh", "-T", *(word for option in options for word in ("-o", option))]
        self._ssh += ["-F", place.ssh.config] if place.ssh.config else []
        self._ssh += ["-p", port] if port else []
        self._ssh += ["--", host]

    def check(self) -> None:
        """Raise ValueError unless the directory on the target is new, empty or of this run."""
        self._claim("check")

    @cached_property
    def base(self) -> PurePosixPath:
        """Directory on the target that `root` is mapped to; made and marked where it is new or empty."""
        return PurePosixPath(last_line(self._claim("make")))

    def call(self, arguments: Sequence[str]) -> str:
        """Run a program that needs no directory; return the end of its output, TargetError where it fails."""
        status, output, stderr = _run_process(self._command(arguments), COPY_LIMIT, self.name)
        if status:
            raise TargetError(f"{self.name}: {self._failure_of(status, stderr)}")
        return output

    def _claim(self, how: Literal["check", "make"]) -> str:
        text = marker_text(self.run_id).rstrip()
        arguments = ["sh", "-c", _CLAIM, "sh", self.directory, MARKER, text, how]
        status, output, stderr = _run_process([*self._ssh, shlex.join(arguments)], COPY_LIMIT, self.name)
        if status == _FOREIGN:
            raise InputError(
                f"ssh.directory is {self.directory}; on {self.name} it must be new, empty, or made by the "
                f"run in {self.root} (with its {MARKER})"
            )
        if status == _SSH_ERROR:
            raise TargetError(f"{self.name} cannot be reached: {last_line(stderr)}")
        if status:
            raise TargetError(f"{self.name}: {self.directory} cannot be used: {last_line(stderr)}")
        return output

    def path(self, folder: Path) -> str:
        """Path on the target of a folder below `root`."""
        return str(self.base / folder.relative_to(self.root).as_posix())

    def place(self, folder: Path) -> None:
        """Copy a scratch folder to the target, and replace an earlier copy."""
        there = shlex.quote(self.path(folder))
        with self._copying(f"rm -rf -- {there} && mkdir -p -- {there} && tar -xf - -C {there}") as process:
            assert process.stdin is not None
            write_archive(folder, process.stdin)
            process.stdin.close()

    def collect(self, folder: Path) -> None:
        """Copy a scratch folder back from the target, and replace the local one."""
        command = f"tar -cf - -C {shlex.quote(self.path(folder))} ."
        with scratch(folder) as beside:
            with self._copying(command) as process:
                assert process.stdout is not None
                with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                    archive.extractall(beside, filter="data")
            replace(beside, folder)

    def remove(self, folder: Path) -> None:
        """Remove the copy of a folder on the target, if that can still be reached."""
        with suppress(TargetError):
            _run_process([*self._ssh, f"rm -rf -- {shlex.quote(self.path(folder))}"], COPY_LIMIT, self.name)

    @contextmanager
    def _copying(self, command: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a shell command on the target that reads or writes an archive; TargetError where it fails."""
        pipe = subprocess.PIPE
        with subprocess.Popen([*self._ssh, command], stdin=pipe, stdout=pipe, stderr=pipe) as process:
            tail = _Tail(process.stderr)
            timer = threading.Timer(COPY_LIMIT, process.kill)
            timer.start()
            broken: Exception | None = None
            try:
                yield process
            except (BrokenPipeError, tarfile.ReadError) as error:
                broken = error
            finally:
                timer.cancel()
            if process.wait() or broken:
                raise TargetError(f"{self.name}: a folder could not be copied: {last_line(tail.text())}")

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return [*self._ssh, shlex.join(arguments)]  # ssh passes one text to the target's shell

    def _failure_of(self, status: int, stderr: str) -> str:
        if status == _SSH_ERROR:
            raise TargetError(f"{self.name} cannot be reached: {last_line(stderr)}")
        return f"{self.python}: {last_line(stderr)}"


def target_of(place: Place, root: Path, run_id: str) -> Target:
    """Return the target of a specification or a project, for the run with this directory and id."""
    return (Local if place.target == "local" else Ssh)(place, root.resolve(), run_id)


def write_archive(folder: Path, stream: IO[bytes]) -> None:
    """Write a folder as a tar archive that depends only on the paths, contents and modes of its files."""
    with tarfile.open(fileobj=stream, mode="w|") as archive:
        archive.add(folder, ".", filter=_without_origin)  # sorted by name


def _without_origin(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Remove who made a file, and when."""
    member.mtime = member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member


def _host_and_port(target: str) -> tuple[str, str]:
    """Split ``ssh:USER@HOST:PORT``; an address with colons is in brackets."""
    whole = target.removeprefix("ssh:")
    host, colon, port = whole.rpartition(":")
    if not colon or "]" in port:
        host, port = whole, ""
    return host.replace("[", "").replace("]", ""), port


def _origin(root: Path, run_id: str) -> str:
    """Eight digits that distinguish runs of the same name, and copies of a run's directory."""
    return digest(socket.gethostname(), str(root), run_id)[:8]


def _run_process(arguments: Sequence[str], limit: float, name: str) -> tuple[int, str, str]:
    """Run a local process; return its exit status and the ends of its stdout and stderr.

    It runs in its own session, and its stdin stays open as long as this process lives.
    """
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
    except OSError as error:
        raise TargetError(f"{name}: {error.filename}: {error.strerror}") from None
    with process:
        assert process.stdin is not None
        tails = [_Tail(stream) for stream in (process.stdout, process.stderr)]
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            process.stdin.close()  # which makes the guard, if it still runs, end the command
            _end(process)
            raise TargetError(f"{name} did not answer within {limit:g} s") from None
        finally:
            process.stdin.close()
        output, stderr = (tail.text() for tail in tails)
    return status, output, stderr


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()


class _Tail(threading.Thread):
    """Reads a stream to its end and keeps its last part."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        super().__init__(daemon=True)
        assert stream is not None
        self._stream, self._kept = stream, b""
        self.start()

    def run(self) -> None:
        while part := os.read(self._stream.fileno(), TAIL):
            self._kept = (self._kept + part)[-TAIL:]

    def text(self) -> str:
        self.join(GRACE)  # another process may hold the other end
        return self._kept.decode(errors="replace")
