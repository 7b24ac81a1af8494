"""Values of any type that Hypothesis makes, drawn from the bytes of an input."""

from __future__ import annotations

import decimal
import fractions
import math
import pathlib
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from .mutate import TEXTS


class Strange:
    """An object that no function expects, and that cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


NUMBERS = st.one_of(
    st.integers(-2, 10),
    st.builds(lambda: 10**4999),  # which Hypothesis cannot show
    st.integers(),
    st.floats(),
    st.sampled_from(
        (10**400, 2**31, 2**63, 2**64, -(2**63) - 1, 5e-324, 1e308, math.nan, math.inf, -math.inf)
    ),
    st.sampled_from((np.float64(math.nan), np.float32(1), np.int8(3), np.uint64(2**64 - 1), np.bool_(True))),
    st.sampled_from((decimal.Decimal("1.5"), fractions.Fraction(1, 3), 1 + 2j, True, False)),
)
WORDS = st.one_of(st.text(max_size=20), st.sampled_from(TEXTS), st.binary(max_size=10))
ARRAYS = st.builds(
    lambda shape, kind, fill: np.full(shape, fill).astype(kind),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    st.sampled_from((np.float64, np.float32, np.int8, np.int64, np.bool_, np.complex128, "U3", object)),
    st.sampled_from((0.0, 1.0, -1.0, 1e-3, 3.0)),
)
ODD = st.recursive(
    st.one_of(
        st.none(),
        NUMBERS,
        WORDS,
        ARRAYS,
        st.builds(Strange),
        st.sampled_from((object(), len, int, ..., range(3), pathlib.Path("x"), b"", bytearray(b"a"))),
    ),
    lambda parts: st.one_of(
        st.lists(parts, max_size=4),
        st.lists(parts, max_size=4).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=3), st.integers(0, 5)), parts, max_size=4),
        st.lists(parts, max_size=3).map(iter),
    ),
    max_leaves=8,
)


def documents(words: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """Return a strategy of documents whose keys are mostly these words."""
    leaves = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(words)
    )
    keys = st.one_of(st.sampled_from(words), st.sampled_from(words), st.text(max_size=5))
    return st.dictionaries(
        keys,
        st.recursive(
            leaves,
            lambda parts: st.one_of(st.lists(parts, max_size=4), st.dictionaries(keys, parts, max_size=5)),
            max_leaves=20,
        ),
        max_size=8,
    )


def draw(strategy: st.SearchStrategy[Any], data: bytes, use: Any) -> Any:
    """Call a function with the value that a strategy makes of bytes; None where they are too few.

    The same bytes make the same value.
    """
    results: list[Any] = []

    @settings(database=None, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(strategy)
    def drawn(value: Any) -> None:
        results.append(value)

    drawn.hypothesis.fuzz_one_input(data)  # type: ignore[attr-defined]
    return use(results[0]) if results else None
