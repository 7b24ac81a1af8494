"""Strategies of layers, as they are asked for: ``tp=2,4``, ``ep=8``, ``recompute``, ``selective``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ..arguments import as_tuple
from ..cluster import MAX_DEGREE, RECOMPUTE
from ..errors import InputError
from ..fields import show
from ..workload import Mode

_DIVIDED = re.compile(r"(tp|ep)=([1-9][0-9]{0,6}(?:,[1-9][0-9]{0,6})*)")


class Division(NamedTuple):
    """How the devices of a replica divide its work.

    Attributes
    ----------
    degree : int
        Number of devices.
    experts : bool
        Whether each device has whole experts, instead of a part of each.
    """

    degree: int = 1
    experts: bool = False

    @property
    def name(self) -> str:
        """Name of the strategy, ``""`` for one device."""
        return f"{'ep' if self.experts else 'tp'}{self.degree}" if self.degree > 1 else ""

    def __str__(self) -> str:
        return f"{'ep' if self.experts else 'tp'}={self.degree}"


class Strategies(NamedTuple):
    """What is asked for: divisions, the first of which is that of one device, and what to recompute."""

    divisions: tuple[Division, ...]
    recompute: tuple[str, ...]


def parse(texts: object, mode: Mode) -> Strategies:
    """Read strategies.

    Parameters
    ----------
    texts
        A list of ``"recompute"``, ``"selective"``, and of ``"tp="`` or ``"ep="`` with degrees.
    mode
        Of the network.

    Raises
    ------
    TypeError, ValueError
        It is not a list; one of them is not a strategy; a network that does not train is to recompute.
    """
    divisions, recompute = {Division(): None}, dict[str, None]()
    for index, text in enumerate(as_tuple("strategies", texts, "a list")):
        where = f"strategies[{index}] is {show(text)}"
        if text in RECOMPUTE:
            if mode != "train":
                raise InputError(f"{where}; it must be absent where mode is {mode!r}")
            recompute[text] = None
            continue
        found = _DIVIDED.fullmatch(text) if isinstance(text, str) else None
        degrees: Sequence[int] = [int(degree) for degree in found[2].split(",")] if found else ()
        if not found or max(degrees) > MAX_DEGREE:
            raise InputError(
                f"{where}; it must be 'recompute', 'selective', or degrees as in 'tp=2,4' or 'ep=8'"
            )
        divisions |= dict.fromkeys(Division(degree, found[1] == "ep" and degree > 1) for degree in degrees)
    return Strategies(tuple(divisions), tuple(recompute))


def strategy_name(division: Division, recompute: str = "") -> str:
    """Name a strategy as in layer tables, such as ``"tp2+recompute"``; ``""`` for the plain one."""
    return "+".join(filter(None, (division.name, recompute)))
