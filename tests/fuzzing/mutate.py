"""Mutations of valid examples: of bytes, of documents, of argument lists. One generator gives all chance."""

from __future__ import annotations

import copy
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

DIGITS = "9" * 5000
NUMBERS = (
    "0", "-0.0", "-1", "1", "2", "1e308", "-1e308", "5e-324", "1e999", "nan", "-nan", "inf", "-inf", "NaN",
    "Infinity", "null", "true", "''", "0x10", "1_000", "007", "1.", ".5", "1e", "127", "128", "-129", "4097",
    "2147483648", "9007199254740993", "18446744073709551616", "-9223372036854775809", DIGITS, f"0.{DIGITS}",
)  # fmt: skip
TEXTS = (
    "", " ", "a", "\0", "\n", "\r\n", "\x1b[31m", "\x1b]0;title\x07", "\u202eevil", "\u2028", "\x7f",
    "\x9b2J",
    "a\nb", "../..", "/", "=", "#", '"', "'", "{", "}", "[", "]", ",", "$(id)", "%s%n", "\U0001f600",
    "\u00e9" * 50,
    "a" * 300, "a" * 100_000, "default", "inf",
)  # fmt: skip
TOKENS = (b"\0", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\n\n", b"\t", b"\x1b[2J",
b"\x7f",
          b"{", b"}", b"[", b"]", b'"', b"'", b",", b":", b"=", b".", b"#", b"--", b"PK\x05\x06")  # fmt: skip
ENCODINGS = ("utf-16", "utf-32", "utf-8-sig", "cp037", "utf-7")
DEPTH = 500

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_WORD = re.compile(rb"[A-Za-z_][A-Za-z_0-9-]*")


# Bytes --------------------------------------------------------------------------------------------------


def mutate_bytes(rng: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Apply one or several mutations; `others` are spliced in."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(_BYTE_MUTATIONS)(rng, data, others)
    return data


def _span(rng: Random, data: bytes) -> tuple[int, int]:
    start = rng.randint(0, len(data))
    return start, min(len(data), start + rng.choice((1, 2, 8, 64, 1024)))


def _flip(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    flipped = bytearray(data)
    for _ in range(rng.choice((1, 3, 20)) if data else 0):
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def _truncate(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data[: rng.randint(0, len(data))]


def _delete(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + data[end:]


def _repeat(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start, end = _span(rng, data)
    return data[:start] + data[start:end] * rng.choice((2, 3, 100)) + data[end:]


def _splice(rng: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]


def _insert(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + rng.choice(TOKENS) + data[at:]


def _replace(pattern: re.Pattern[bytes], rng: Random, data: bytes, new: bytes) -> bytes:
    found = list(pattern.finditer(data))
    if not found:
        return data + new
    match = rng.choice(found)
    return data[: match.start()] + new + data[match.end() :]


def _number(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return _replace(_NUMBER, rng, data, rng.choice(NUMBERS).encode())


def _text(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return _replace(_WORD, rng, data, rng.choice(TEXTS).encode())


def _nest(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    opening, closing = rng.choice(
        ((b"[", b"]"), (b'{"a":', b"}"), (b"{a=", b"}"), (b"[[", b"]]"), (b"a.", b""))
    )
    return _replace(rng.choice((_NUMBER, _WORD)), rng, data, opening * DEPTH + b"1" + closing * DEPTH)


def _lines(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    lines = data.splitlines(keepends=True)
    rng.shuffle(lines)
    return b"".join(lines)


def _encode(rng: Random, data: bytes, _: Sequence[bytes]) -> bytes:
    return data.decode("utf-8", "replace").encode(rng.choice(ENCODINGS), "replace")


_BYTE_MUTATIONS: tuple[Callable[[Random, bytes, Sequence[bytes]], bytes], ...] = (
    _flip, _truncate, _delete, _repeat, _splice, _insert, _number, _number, _text, _text, _nest, _lines,
    _encode,
)  # fmt: skip


# Documents ----------------------------------------------------------------------------------------------


def mutate_document(rng: Random, document: Any) -> Any:
    """Return a copy whose parts are deleted, repeated, renamed, retyped or replaced."""
    document = copy.deepcopy(document)
    with _no_limits():
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            places = list(_places(document))
            if not places:
                return odd(rng)
            container, key = rng.choice(places)
            rng.choice(_DOCUMENT_MUTATIONS)(rng, container, key)
    return document


def odd(rng: Random) -> Any:
    """Return a value that hardly any field allows."""
    nested: Any = 1
    for _ in range(DEPTH):
        nested = [nested] if rng.random() < 0.5 else {"a": nested}
    return rng.choice(
        (
            None, True, False, 0, -1, 1, 1.5, 2**31, 2**63, 2**64, -(2**63) - 1, 10**4999, 1e308, -1e308,
            5e-324,
            float("nan"), float("inf"), -float("inf"), [], {}, [[]], [None], {"": None}, nested,
            list(range(5000)),
            {f"k{i}": i for i in range(2000)}, rng.choice(TEXTS), rng.choice(TEXTS),
        )
    )  # fmt: skip


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of every part of a document."""
    pending = [value]
    while pending:
        container = pending.pop()
        keys = container if isinstance(container, dict) else range(len(container))
        for key in keys:
            yield container, key
            if isinstance(container[key], (dict, list)):
                pending.append(container[key])


def _drop(rng: Random, container: Any, key: Any) -> None:
    del container[key]


def _retype(rng: Random, container: Any, key: Any) -> None:
    container[key] = odd(rng)


def _wrap(rng: Random, container: Any, key: Any) -> None:
    container[key] = rng.choice(([container[key]], {"a": container[key]}, str(container[key])[:1000]))


def _rename(rng: Random, container: Any, key: Any) -> None:
    if isinstance(container, dict):
        container[rng.choice((*TEXTS, key.upper(), key + " "))] = container.pop(key)


def _more(rng: Random, container: Any, key: Any) -> None:
    if isinstance(container, list):
        container.extend([copy.deepcopy(container[key]) for _ in range(rng.choice((1, 1, 50)))])
    elif isinstance(container[key], str):
        container[key] = rng.choice((container[key] * 500, container[key] + rng.choice(TEXTS)))


def _swap(rng: Random, container: Any, key: Any) -> None:
    other = rng.choice(list(container) if isinstance(container, dict) else range(len(container)))
    container[key], container[other] = container[other], container[key]


_DOCUMENT_MUTATIONS: tuple[Callable[[Random, Any, Any], None], ...] = (
    _drop, _retype, _retype, _retype, _wrap, _rename, _more, _swap,
)  # fmt: skip


# Text of documents --------------------------------------------------------------------------------------


def to_bytes(rng: Random, document: Any, form: str | None = None) -> bytes:
    """Write a document as "json" or "toml", by default as either; what TOML lacks comes out damaged."""
    form = form or rng.choice(("json", "toml"))
    with _no_limits():
        text = _toml_of(document) if form == "toml" and isinstance(document, dict) else json.dumps(document)
    return text.encode("utf-8", "surrogatepass")


@contextmanager
def _no_limits() -> Iterator[None]:
    """Let Python write integers of any length, and what is nested deeply."""
    digits, depth = sys.get_int_max_str_digits(), sys.getrecursionlimit()
    sys.set_int_max_str_digits(0)
    sys.setrecursionlimit(20 * DEPTH)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(digits)
        sys.setrecursionlimit(depth)


def _toml_of(document: dict[Any, Any]) -> str:
    return "".join(f"{json.dumps(str(key))} = {_toml(value)}\n" for key, value in document.items())


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return "inf" if value is None else str(value).lower()


# Argument lists -----------------------------------------------------------------------------------------


def mutate_arguments(rng: Random, argv: Sequence[str], others: Sequence[str]) -> list[str]:
    """Drop, repeat, replace, swap and insert arguments; `others` are arguments of other commands."""
    argv = list(argv)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.randint(0, len(argv))
        new = rng.choice((rng.choice(others), rng.choice(others), rng.choice(NUMBERS), rng.choice(TEXTS)))
        match rng.randrange(5):
            case 0 if argv:
                argv[rng.randrange(len(argv))] = new
            case 1 if argv:
                del argv[rng.randrange(len(argv))]
            case 2 if argv:
                other = rng.randrange(len(argv))
                argv[other], argv[place % len(argv)] = argv[place % len(argv)], argv[other]
            case 3:
                argv.insert(place, new)
            case _:
                argv[place:place] = [rng.choice([o for o in others if o.startswith("--")]), new]
    return [argument.replace("\0", "") for argument in argv]  # no shell can pass a NUL
