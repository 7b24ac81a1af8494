"""The built-in examples: workloads with their clusters, clusters, and a specification."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib import resources


def headlines(field: str) -> dict[str, str]:
    """Names and first sentences of the built-in files that have a field."""
    return {
        name: text.partition("\n")[0].removeprefix("# ").partition(". ")[0].removesuffix(".")
        for name, text in _texts()
        if field in tomllib.loads(text)
    }


def files(name: str) -> dict[str, str]:
    """Return file name -> content of an example and of the cluster that it names."""
    texts = dict(_texts())
    text = texts[name]
    cluster = tomllib.loads(text).get("cluster")
    if cluster is None:
        return {f"{name}.toml": text}
    return {
        f"{name}.toml": text.replace(f'cluster = "{cluster}"', f'cluster = "{cluster}.toml"', 1),
        f"{cluster}.toml": texts[cluster],
    }


def _texts() -> Iterator[tuple[str, str]]:
    folder = resources.files("stageplan") / "data" / "examples"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        yield file.name.removesuffix(".toml"), file.read_text(encoding="utf-8")
