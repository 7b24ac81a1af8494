"""The rooms of the native sources: files include what lies below their room, never above, in no circle.

``python tests/test_native_rooms.py`` prints which room includes which.
"""

import re
from pathlib import Path

import pytest

NATIVE = Path(__file__).resolve().parent.parent / "native"
SIBLINGS = ("exact", "genetic", "policy", "placement")
LEVELS = {
    "common": 0, "model": 1, "kernels": 2, "search": 3, **dict.fromkeys(SIBLINGS, 4), "auto": 5,
    "solve": 6, "solve_many": 7, "capi": 7, "bindings": 8,
}  # fmt: skip


def room_of(path: str) -> str:
    """The folder of a file; what lies beside the folders is called by its own name."""
    return path.split("/")[0].split(".")[0]


def files(native: Path) -> list[Path]:
    return sorted(path for path in native.rglob("*") if path.suffix in (".cpp", ".h"))


def includes(native: Path) -> dict[str, list[str]]:
    """What each file includes of the project's own, by paths within the folder of native sources."""
    return {
        str(path.relative_to(native)): re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.M)
        for path in files(native)
    }


def room_graph(graph: dict[str, list[str]]) -> dict[str, set[str]]:
    rooms: dict[str, set[str]] = {}
    for file, included in graph.items():
        rooms.setdefault(room_of(file), set()).update(room_of(other) for other in included)
    return {room: others - {room} for room, others in rooms.items()}


def arrows_up(graph: dict[str, list[str]]) -> list[str]:
    """The includes that lead to a room above, or to a sibling."""
    return [
        f"{file} includes {other}"
        for file, included in graph.items()
        for other in included
        if room_of(file) != room_of(other) and LEVELS[room_of(other)] >= LEVELS[room_of(file)]
    ]


def circle(graph: dict[str, list[str]]) -> list[str]:
    """Files that include each other in a circle; empty where none do."""
    finished: set[str] = set()

    def follow(file: str, path: list[str]) -> list[str]:
        if file in path:
            return [*path[path.index(file) :], file]
        if file in finished:
            return []
        for other in graph.get(file, []):
            if found := follow(other, [*path, file]):
                return found
        finished.add(file)
        return []

    return next((found for file in graph if (found := follow(file, []))), [])


def test_every_file_is_in_a_room() -> None:
    graph = includes(NATIVE)
    assert len(graph) > 50
    assert {room_of(file) for file in graph} == set(LEVELS)
    assert {other for included in graph.values() for other in included} <= set(graph)


def test_no_include_leads_to_a_room_above() -> None:
    assert arrows_up(includes(NATIVE)) == []


def test_no_files_include_each_other_in_a_circle() -> None:
    assert circle(includes(NATIVE)) == []


@pytest.mark.parametrize(
    ("file", "include"),
    [
        ("common/rng.h", "model/problem.h"),
        ("search/search.h", "exact/exact.h"),
        ("exact/exact.h", "genetic/island.h"),
        ("auto.cpp", "bindings/arrays.h"),
    ],
)
def test_an_include_that_leads_up_is_found(file: str, include: str) -> None:
    assert arrows_up({file: [include]}) == [f"{file} includes {include}"]
    assert arrows_up({"genetic/a.h": ["search/b.h", "genetic/c.h"], "auto.h": ["exact/d.h"]}) == []


def test_a_circle_is_found() -> None:
    assert circle({"a.h": ["b.h"], "b.h": ["c.h"], "c.h": ["b.h"]}) == ["b.h", "c.h", "b.h"]
    assert circle({"a.h": ["b.h", "c.h"], "b.h": ["c.h"], "c.h": []}) == []


def test_the_readme_names_every_room() -> None:
    text = (NATIVE / "README.md").read_text()
    assert [room for room in LEVELS if f"`{room}" not in text] == []
    named = re.findall(r"`((?:\w+/)*[\w-]+\.(?:h|cpp))`", text)
    assert named
    assert [file for file in named if not (NATIVE / file).is_file()] == []


if __name__ == "__main__":
    for room, others in sorted(room_graph(includes(NATIVE)).items(), key=lambda item: LEVELS[item[0]]):
        print(f"{room}: {', '.join(sorted(others, key=LEVELS.__getitem__)) or '-'}")
