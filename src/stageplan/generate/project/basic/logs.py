"""The log of a training: CSV files with a line for each step and validation, and TensorBoard's on request."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from common import ARTEFACTS, IS_FIRST, Config, whole

NAMES = ("train", "validation")
BOARD = ARTEFACTS / "tensorboard"


class Log:
    """Open logs, which the first of several processes writes.

    Parameters
    ----------
    config : Config
        Says whether to write for TensorBoard.
    done : int
        Steps that an earlier, interrupted training made: its later lines are removed.
    """

    def __init__(self, config: Config, done: int) -> None:
        self.done, self.open_files = done, ExitStack()
        self.writers: dict[str, Any] = {}
        self.board: Any = None
        if not IS_FIRST:
            return
        for name in NAMES:
            _cut(path_of(name), done)
        if not done:
            shutil.rmtree(BOARD, ignore_errors=True)
        if config.train.tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # a package that is seldom asked for

            self.board = SummaryWriter(BOARD, purge_step=done + 1)
            self.open_files.callback(self.board.close)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.open_files.close()

    def add(self, name: str, numbers: Mapping[str, float]) -> None:
        """Add a line: of a step, which is its first number, to the log of one of `NAMES`."""
        if not IS_FIRST:
            return
        if name not in self.writers:
            is_new = not path_of(name).exists()
            path_of(name).parent.mkdir(parents=True, exist_ok=True)
            stream = self.open_files.enter_context(path_of(name).open("a", buffering=1, newline=""))
            self.writers[name] = csv.DictWriter(stream, list(numbers), lineterminator="\n")
            if is_new:
                self.writers[name].writeheader()
        self.writers[name].writerow(numbers)
        if self.board is not None:
            for key, number in numbers.items():
                if key != "step":
                    self.board.add_scalar(f"{name}/{key}", number, numbers["step"])


def path_of(name: str) -> Path:
    """Return the file of a log."""
    return ARTEFACTS / f"{name}.csv"


def _cut(path: Path, done: int) -> None:
    """Remove the lines of an earlier training after a number of steps, or the file if it made none."""
    if not done:
        path.unlink(missing_ok=True)
        return
    if not path.exists():
        return
    with path.open(newline="") as stream:
        header, *lines = list(csv.reader(stream)) or [[]]
    kept = [line for line in lines if len(line) == len(header) and int(line[0]) <= done]
    with whole(path) as beside, beside.open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *kept])
