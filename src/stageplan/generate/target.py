"""The machine that a model is made for: this one, or one that is reached over ssh."""

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

from .digests import digest
from .folders import MARKER, marker_text, replace, scratch
from .results import StepError
from .spec import Spec

TAIL = 64 * 2**10  # bytes of a command's output that are kept
GRACE = 15.0  # seconds that a target may take to say that a time limit was reached
COPY_LIMIT = 3600.0  # seconds that a folder may take to be copied

# Exit statuses: of the OpenSSH client for its own errors, and of the script below.
_SSH_ERROR, _FOREIGN = 255, 3
# Arguments: a directory, its marker's name and text, and "check", or "make", which prints where it is.
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
    """A target that cannot be reached, or was lost."""


class Finished(Struct, frozen=True, kw_only=True):
    """What became of a command.

    Attributes
    ----------
    status : int
        Its exit status; minus the number of the signal that ended it.
    output : str
        The end of what it printed, stdout and stderr in the order in which they came.
    seconds : float
        How long it ran, of the clock on the wall.
    timed_out : bool
        Whether it was killed at its time limit.
    error : str
        Why it could not be run at all; empty where it was.
    """

    status: int = 0
    output: str = ""
    seconds: float = 0.0
    timed_out: bool = False
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether it ran to its end with exit status 0."""
        return not self.complaint

    @property
    def complaint(self) -> str:
        """What went wrong, in a few words and the command's own last line; empty where nothing did."""
        if self.error:
            return f"could not be run: {self.error}"
        if self.timed_out:
            return f"was stopped at its time limit, after {self.seconds:.3g} s"
        if self.status < 0:
            return f"was ended by signal {_signal_name(-self.status)}"
        if self.status:
            return f"ended with exit status {self.status}: {last_line(self.output)}"
        return ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def last_line(text: str) -> str:
    """Return the last line of a text that is not blank."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it printed nothing")


class Target(ABC):
    """A machine. Folders are named by their path here, below `root`; the target has its own path for each.

    Attributes
    ----------
    name : str
        ``"local"`` or ``"ssh:..."``.
    root : pathlib.Path
        Directory of the run on this machine.
    run_id : str
        Id of the run.
    python : str
        Interpreter on the target that runs what needs no packages.
    """

    name: str
    root: Path
    run_id: str
    python: str

    @abstractmethod
    def check(self) -> None:
        """Refuse a directory on the target that this run did not make, with a ValueError; change nothing."""

    @abstractmethod
    def path(self, folder: Path) -> str:
        """Path on the target of a folder below `root`."""

    @abstractmethod
    def place(self, folder: Path) -> None:
        """Bring a folder to the target, in place of what is there."""

    @abstractmethod
    def collect(self, folder: Path) -> None:
        """Bring a folder back from the target, in place of what is here."""

    @abstractmethod
    def forget(self, folder: Path) -> None:
        """Remove what was brought to the target, where that is a copy."""

    @abstractmethod
    def _reach(self, arguments: Sequence[str]) -> list[str]:
        """Arguments of a process here that runs a command there."""

    @abstractmethod
    def _unreached(self, status: int, stderr: str) -> str:
        """Say why nothing came back; raises TargetError where the target is not to be had."""

    def run(
        self,
        arguments: Sequence[str],
        folder: Path,
        *,
        limit: float,
        variables: Mapping[str, str] | None = None,
    ) -> Finished:
        """Run a command in a folder of the target, with no shell, and leave nothing of it running.

        Parameters
        ----------
        arguments : sequence of str
            The program and its arguments.
        folder : pathlib.Path
            Working directory, by its path here.
        limit : float
            Seconds after which it and its descendants are killed.
        variables : mapping of str to str, optional
            Environment variables besides those that are there.

        Returns
        -------
        Finished
            What became of it.

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
        reached = self._reach([self.python, "-I", "-c", guard, json.dumps(order)])
        status, output, stderr = _exchange(reached, limit + GRACE, self.name)
        try:
            return Finished(output=output, **json.loads(last_line(stderr)))
        except (ValueError, TypeError):
            return Finished(output=output, error=self._unreached(status, stderr))


class Local(Target):
    """The machine that stageplan runs on: a folder is where it is."""

    def __init__(self, spec: Spec, root: Path, run_id: str) -> None:
        self.name, self.root, self.run_id = spec.target, root, run_id
        self.python = spec.environment.python or sys.executable

    def check(self) -> None:
        """No-op: `root` itself was checked."""

    def path(self, folder: Path) -> str:
        """Path on the target of a folder below `root`: its own."""
        return str(folder)

    def place(self, folder: Path) -> None:
        """No-op for a local target."""

    def collect(self, folder: Path) -> None:
        """No-op for a local target."""

    def forget(self, folder: Path) -> None:
        """No-op for a local target."""

    def _reach(self, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, *arguments[1:]]  # the interpreter that makes environments may be absent

    def _unreached(self, status: int, stderr: str) -> str:
        return f"the guard ended with exit status {status}: {last_line(stderr)}"


class Ssh(Target):
    """A machine that the OpenSSH client reaches, with no questions asked."""

    def __init__(self, spec: Spec, root: Path, run_id: str) -> None:
        self.name, self.root, self.run_id = spec.target, root, run_id
        self.python = spec.environment.python or "python3"
        self._wanted_base = spec.ssh.directory or f".stageplan/{spec.name}-{_origin(root, run_id)}"
        host, port = _host_and_port(spec.target)
        options = ["BatchMode=yes", f"ConnectTimeout={spec.ssh.connect_timeout}", "ServerAliveInterval=5"]
        self._ssh = ["ssh", "-T", *(word for option in options for word in ("-o", option))]
        self._ssh += ["-F", spec.ssh.config] if spec.ssh.config else []
        self._ssh += ["-p", port] if port else []
        self._ssh += ["--", host]

    def check(self) -> None:
        """Refuse a directory on the target that this run did not make, with a ValueError; change nothing."""
        self._claim("check")

    @cached_property
    def base(self) -> PurePosixPath:
        """Directory on the target that stands for `root`; made and marked where it is new or empty."""
        return PurePosixPath(last_line(self._claim("make")))

    def _claim(self, how: Literal["check", "make"]) -> str:
        text = marker_text(self.run_id).rstrip()
        arguments = ["sh", "-c", _CLAIM, "sh", self._wanted_base, MARKER, text, how]
        status, output, stderr = _exchange([*self._ssh, shlex.join(arguments)], COPY_LIMIT, self.name)
        if status == _FOREIGN:
            raise ValueError(
                f"ssh.directory is {self._wanted_base}; on {self.name} it must be new, empty, or made by the "
                f"run in {self.root} (with its {MARKER})"
            )
        if status == _SSH_ERROR:
            raise TargetError(f"{self.name} cannot be reached: {last_line(stderr)}")
        if status:
            raise TargetError(f"{self.name}: {self._wanted_base} cannot be used: {last_line(stderr)}")
        return output

    def path(self, folder: Path) -> str:
        """Path on the target of a folder below `root`."""
        return str(self.base / folder.relative_to(self.root).as_posix())

    def place(self, folder: Path) -> None:
        """Bring a folder to the target, in place of what is there."""
        there = shlex.quote(self.path(folder))
        with self._copying(f"rm -rf -- {there} && mkdir -p -- {there} && tar -xf - -C {there}") as process:
            assert process.stdin is not None
            with tarfile.open(fileobj=process.stdin, mode="w|") as archive:
                archive.add(folder, ".")
            process.stdin.close()

    def collect(self, folder: Path) -> None:
        """Bring a folder back from the target, in place of what is here."""
        command = f"tar -cf - -C {shlex.quote(self.path(folder))} ."
        with scratch(folder) as beside:
            with self._copying(command) as process:
                assert process.stdout is not None
                with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                    archive.extractall(beside, filter="data")
            replace(beside, folder)

    def forget(self, folder: Path) -> None:
        """Remove a folder from the target, where it can still be reached."""
        with suppress(TargetError):
            _exchange([*self._ssh, f"rm -rf -- {shlex.quote(self.path(folder))}"], COPY_LIMIT, self.name)

    @contextmanager
    def _copying(self, command: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a command of the target's shell that reads or writes an archive; TargetError where it fails."""
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

    def _reach(self, arguments: Sequence[str]) -> list[str]:
        return [*self._ssh, shlex.join(arguments)]  # ssh gives the target's shell one text

    def _unreached(self, status: int, stderr: str) -> str:
        if status == _SSH_ERROR:
            raise TargetError(f"{self.name} cannot be reached: {last_line(stderr)}")
        return f"{self.python}: {last_line(stderr)}"


def target_of(spec: Spec, root: Path, run_id: str) -> Target:
    """Return the target of a specification, for a run with its directory here and its id."""
    return (Local if spec.target == "local" else Ssh)(spec, root.resolve(), run_id)


def _host_and_port(target: str) -> tuple[str, str]:
    """Take apart ``ssh:USER@HOST:PORT``; an address with colons is in brackets."""
    whole = target.removeprefix("ssh:")
    host, colon, port = whole.rpartition(":")
    if not colon or "]" in port:
        host, port = whole, ""
    return host.replace("[", "").replace("]", ""), port


def _origin(root: Path, run_id: str) -> str:
    """Eight digits that tell runs of the same name apart, and a copy of a run's directory from the run."""
    return digest(socket.gethostname(), str(root), run_id)[:8]


def _exchange(arguments: Sequence[str], limit: float, name: str) -> tuple[int, str, str]:
    """Run a process here; returns its exit status and the ends of its stdout and stderr.

    It is in a session of its own, and its stdin stays open as long as this process lives.
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
            process.stdin.close()  # the guard, if it lives, ends the command
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
    """Reads a stream to its end, and keeps its last part."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        super().__init__(daemon=True)
        assert stream is not None
        self._stream, self._kept = stream, b""
        self.start()

    def run(self) -> None:
        while part := os.read(self._stream.fileno(), TAIL):
            self._kept = (self._kept + part)[-TAIL:]

    def text(self) -> str:
        self.join(GRACE)  # somebody may hold the other end where nothing can be killed
        return self._kept.decode(errors="replace")
