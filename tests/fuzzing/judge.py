"""Which outcomes are allowed: success, or one sentence of the project's own that names something."""

from __future__ import annotations

import linecache
import traceback
from types import TracebackType

import stageplan

SOURCE = stageplan.__path__[0]
LONGEST = 4000  # characters of a sentence; lists of known names may be long
WORDS = 3


def complaint(error: BaseException) -> str | None:
    """Say why a call must not raise this error; None if it may."""
    if isinstance(error, MemoryError):
        return "more memory than allowed"
    if isinstance(error, OSError) and error.errno is not None:
        return None
    if not isinstance(error, (stageplan.StageplanError, ImportError)):
        return f"raises {type(error).__name__}"
    if not _is_own(error.__traceback__):
        return f"{type(error).__name__} of other code"
    return sentence_complaint(str(error))


def sentence_complaint(sentence: str) -> str | None:
    """Say why a text is not one clear sentence; None if it is one."""
    if not sentence.isprintable():
        return "a sentence of several lines, or with control characters"
    if len(sentence) > LONGEST:
        return f"a sentence of {len(sentence)} characters"
    if len(sentence.split()) < WORDS:
        return "a sentence that names nothing"
    return None


def _is_own(trace: TracebackType | None) -> bool:
    """Whether a ``raise`` of the project, or its native part, raised an error."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return True
    code = trace.tb_frame.f_code
    if not code.co_filename.startswith(SOURCE):
        return False
    positions = list(code.co_positions())[trace.tb_lasti // 2]
    lines = [
        linecache.getline(code.co_filename, number)
        for number in range(positions[0] or 0, (positions[1] or positions[0] or 0) + 1)
    ]
    return any(word in "".join(lines) for word in ("raise ", "core", "search.", "splits.", "scorer"))


def place(error: BaseException) -> str:
    """Say where an error was raised: the last line of the project, and the last of all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(SOURCE)]
    shown = {id(frame): frame for frame in (*own[-1:], *frames[-1:])}
    return " > ".join(f"{frame.filename.removeprefix(SOURCE)}:{frame.lineno}" for frame in shown.values())
