"""The file from which a search that was ended continues."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from .arguments import check_number
from .errors import InputError
from .fields import sentence
from .islands import AnySearch
from .locks import locked_beside
from .log import LOGGER
from .output import check_output, write_whole
from .problem import Problem
from .progress import Progress
from .readers.bounded import about, as_path

_MAGIC, _FORMAT = b"stageplan checkpoint ", 1
_END = b"\n"
_HASH = hashlib.sha256().digest_size
_LENGTH = 8  # bytes of the length of the document, which the native state follows
_PAUSE = 1.0  # seconds between two states that are kept in memory
_TAKING, _WRITING = 50, 10  # times as long as taking or writing a state takes, at least, until the next one


class Run(msgspec.Struct, frozen=True):
    """What a search depends on; only the same search continues from a checkpoint."""

    version: str
    problem: str
    method: str
    seed: int
    population: int
    cell: str
    policy: str
    initial: str
    islands: int

    def check_same(self, other: Run) -> None:
        """Raise ValueError if a checkpoint is that of another search."""
        for name in self.__struct_fields__:
            here, there = getattr(self, name), getattr(other, name)
            if here == there:
                continue
            if name == "version":
                raise InputError(f"it was written by stageplan {there}; it continues only in that version")
            what = f"its {name} is {there}, here it is {here}"
            if name in ("problem", "policy", "initial"):  # of which it has only a hash
                what = f"its {name} is another one"
            raise InputError(f"it is the checkpoint of another search: {what}")


class _Point(msgspec.Struct, frozen=True, array_like=True):
    """A `Progress`: its numbers, and the scheme."""

    numbers: tuple[int, int, int, int, float, float, float, float, float, float, float | None]
    scheme: bytes

    @classmethod
    def of(cls, progress: Progress) -> _Point:
        numbers = tuple(getattr(progress, name) for name in _NUMBERS)
        return cls(numbers, progress.scheme.tobytes())

    def progress(self, problem: Problem) -> Progress:
        scheme = np.frombuffer(self.scheme, np.int8)
        numbers: dict[str, Any] = dict(zip(_NUMBERS, self.numbers, strict=True))
        return Progress(**numbers, objective=problem.goal.objective, problem=problem, scheme=scheme)


_NUMBERS = tuple(
    name for name in Progress.__struct_fields__ if name not in ("objective", "problem", "scheme")
)


class _Document(msgspec.Struct, frozen=True):
    run: Run
    last: _Point
    history: list[_Point]


@dataclass(frozen=True)
class Moment:
    """What a search is at between two steps: all that continuing needs."""

    progress: Progress
    history: tuple[Progress, ...]
    state: bytes


class Checkpoint:
    """The checkpoint file of a search.

    Parameters
    ----------
    path
        The file.
    every
        Seconds between two writes.
    run
        What the search depends on.

    Raises
    ------
    ValueError, TypeError
        Naming the argument, the value and what is allowed.
    """

    def __init__(self, path: object, every: float, run: Run) -> None:
        check_number("checkpoint_every", every, minimum=0)
        self._path, self._every, self._run = as_path("checkpoint", path), every, run
        if self._path.exists() and not self._path.is_file() and not self._path.is_dir():
            raise InputError(f"checkpoint is {self._path}; it must be a file")
        check_output("checkpoint", self._path)
        self._last: Moment | None = None  # kept in memory until it is written
        now = time.perf_counter()
        self._take_at, self._write_at = now + min(_PAUSE, every), now + every

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other searches from the file.

        Raises
        ------
        ValueError
            Another one is using it.
        """
        with ExitStack() as held:
            try:
                held.enter_context(locked_beside(self._path))
            except BlockingIOError:
                raise InputError(f"checkpoint is {self._path}; another search is using it") from None
            yield

    def read(self, problem: Problem) -> Moment | None:
        """Return what the file holds; None if there is none.

        Raises
        ------
        OSError
            The file cannot be read.
        ValueError
            It is not the checkpoint of this search, or it is damaged.
        """
        if not self._path.exists():
            return None
        with about(self._path):
            document, state = _decode(self._path)
            self._run.check_same(document.run)
        history = tuple(point.progress(problem) for point in document.history)
        return Moment(document.last.progress(problem), history, state)

    def restore(self, search: AnySearch, saved: Moment) -> None:
        """Continue from what the file holds, in a search that was made anew."""
        with about(self._path):
            search.restore(saved.state)

    def update(self, search: AnySearch, progress: Progress, history: list[Progress]) -> None:
        """Take the state after a step, if that is due, and write it, if that is.

        Where it cannot be written, the search goes on: the log says so, and `finish` tries again.
        """
        now = time.perf_counter()
        if now < self._take_at:
            return
        self.take(search, progress, history)
        taken = time.perf_counter()
        self._take_at = taken + max(min(_PAUSE, self._every), _TAKING * (taken - now))
        if taken < self._write_at:
            return
        try:
            self.finish()
        except OSError as error:
            LOGGER.warning("%s", sentence(f"{self._path}: the checkpoint was not written: {error.strerror}"))
        written = time.perf_counter()
        self._write_at = written + max(self._every, _WRITING * (written - taken))

    def take(self, search: AnySearch, progress: Progress, history: list[Progress]) -> None:
        """Keep the state after a step in memory."""
        self._last = Moment(progress, tuple(history), search.state())

    def finish(self) -> None:
        """Write the last state, if the file does not have it.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        if self._last is None:
            return
        content = _encode(self._run, self._last)
        write_whole(self._path, lambda stream: stream.writelines(content))
        self._last = None


def _encode(run: Run, moment: Moment) -> list[bytes]:
    """Return the parts of the file: format, hash of the rest, length of the document, document, state."""
    document = msgspec.msgpack.encode(
        _Document(run, _Point.of(moment.progress), [_Point.of(p) for p in moment.history])
    )
    body = [len(document).to_bytes(_LENGTH, "little"), document, moment.state]
    return [_MAGIC, str(_FORMAT).encode(), _END, hash_of(body), *body]


def hash_of(parts: list[bytes]) -> bytes:
    """Return the hash of what stands behind it in a file."""
    seen = hashlib.sha256()
    for part in parts:
        seen.update(part)
    return seen.digest()


def _decode(path: Path) -> tuple[_Document, bytes]:
    with path.open("rb") as stream:
        first = stream.readline(64)
        if not first.startswith(_MAGIC):
            raise InputError("it is not the checkpoint of a search")
        number = first.removeprefix(_MAGIC).removesuffix(_END)
        if number != str(_FORMAT).encode() and number.isdigit() and first.endswith(_END):
            raise InputError(
                f"it is a checkpoint of format {number.decode()}; this version of stageplan reads "
                f"format {_FORMAT}"
            )
        digest, body = stream.read(_HASH), stream.read()
    damaged = InputError("the checkpoint is damaged or cut short")
    if number != str(_FORMAT).encode() or digest != hash_of([body]):
        raise damaged
    length = int.from_bytes(body[:_LENGTH], "little")
    try:
        document = msgspec.msgpack.decode(body[_LENGTH : _LENGTH + length], type=_Document)
    except (msgspec.DecodeError, RecursionError):
        raise damaged from None
    return document, body[_LENGTH + length :]
