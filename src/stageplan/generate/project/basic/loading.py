"""Loads PyTorch faster; every command imports this before it imports PyTorch.

Python looks among objects for garbage again and again while more and more of them are made. Of what packages
make while they are imported all stays, so that looking, there and at the end, takes a third of the time.
"""

from __future__ import annotations

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module


@contextmanager
def loading() -> Iterator[None]:
    """Do not look for garbage for a while."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


with loading():
    import_module("torch")

gc.freeze()  # what there is now is not looked at again
atexit.register(gc.freeze)  # neither is, at the end, what there is then
