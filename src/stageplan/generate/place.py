"""What a specification and an adopted project have in common: the machine that they run on."""

from __future__ import annotations

from typing import Protocol

from .spec import Environment, Hardware, Ssh


class Place(Protocol):
    """A name, a machine, and what is required of it."""

    @property
    def name(self) -> str:
        """Name of the model or the project."""

    @property
    def target(self) -> str:
        """``"local"`` or ``"ssh:USER@HOST"``."""

    @property
    def hardware(self) -> Hardware:
        """What the machine must have."""

    @property
    def environment(self) -> Environment:
        """Where the packages come from."""

    @property
    def ssh(self) -> Ssh:
        """How it is reached."""
