"""What a name that is not known may have been meant to be."""

from __future__ import annotations

from collections.abc import Iterable

_MOST = 3  # names that are suggested


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """Return the end of an error's sentence: the known names that one is the beginning of, or nearly is.

    Empty where there are none.
    """
    from difflib import get_close_matches  # only where something is refused

    if not isinstance(name, str) or len(name) < 2:
        return ""
    by_lower = {text.lower(): text for text in known if isinstance(text, str)}
    begun = [text for lower, text in by_lower.items() if lower.startswith(name.lower())]
    near = begun or [by_lower[lower] for lower in get_close_matches(name.lower(), by_lower, n=1)]
    return f"; did you mean {' or '.join(map(repr, near[:_MOST]))}?" if near else ""
