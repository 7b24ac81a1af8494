"""Colours that those who do not see red or green tell apart (Okabe and Ito)."""

PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")
"""Of the classes ``t0`` to ``t7`` of a page."""


def color(kind: str) -> str:
    """Return the colour of a class, such as ``"t3"``."""
    return PALETTE[int(kind[1:])]
