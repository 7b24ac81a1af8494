"""Files of sweeps."""

import msgspec
import pytest
from small_sweeps import FILE, made, write_files

import stageplan as sp


def test_a_file_is_read_like_the_same_axes_in_python(tmp_path):
    write_files(tmp_path)
    read, own = sp.read_sweep(tmp_path / "sweep.toml"), made()
    assert (read.name, read.chunk, len(read)) == ("prices", 3, 12)
    assert [read.problem(i) for i in range(12)] == [own.problem(i) for i in range(12)]


def test_relative_paths_begin_beside_the_file(tmp_path, monkeypatch):
    write_files(tmp_path)
    monkeypatch.chdir("/")
    sweep = sp.read_sweep(tmp_path / "sweep.toml")
    assert sweep.problem(0).name == "net on lab"


def test_the_example_is_read(run):
    from pathlib import Path

    status, out, _ = run("sweep", "--example")
    assert status == 0
    Path("example.toml").write_text(out)
    sweep = sp.read_sweep("example.toml")
    assert len(sweep) == 2 * 9 * 5 * 3


def test_the_example_with_its_comments_is_read(tmp_path, run):
    """What is commented out is valid, too."""
    _, out, _ = run("sweep", "--example")
    lines = [line.removeprefix("# ") if " = " in line else line for line in out.splitlines()]
    (tmp_path / "all.toml").write_text("\n".join(lines))
    sweep = sp.read_sweep(tmp_path / "all.toml")
    assert (sweep.work, sweep.chunk) == (100_000_000, 1000)
    assert len(sweep.axes["microbatches"]) == 6 + 7


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[product]", "[produkt]", "produkt is not a known field; it must be one of name, work, chunk, "),
        ("chunk = 3", "chunk = 0", "chunk is 0; it must be a whole number of set-ups from 1 to 2**53"),
        ('"exact"', '"exakt"', "method has 'exakt'; each of its values must be one of "),
        ("price.fast", "pirce.fast", "pirce is not an axis; it must be one of workload, "),
        ("chunk = 3", "chunk =", "it is not valid TOML: "),
        ("[[zip]]", "[zip]", "zip is {"),
    ],
)
def test_bad_files_are_refused(tmp_path, old, new, sentence):
    write_files(tmp_path)
    (tmp_path / "sweep.toml").write_text(FILE.replace(old, new, 1))
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        sp.read_sweep(tmp_path / "sweep.toml")
    assert str(caught.value).startswith(f"{tmp_path / 'sweep.toml'}: {sentence}")


def test_an_absent_workload_is_named(tmp_path):
    write_files(tmp_path)
    (tmp_path / "net.json").unlink()
    with pytest.raises(OSError, match="no such file or built-in example") as caught:
        sp.read_sweep(tmp_path / "sweep.toml")
    assert caught.value.filename == "net.json"


def test_workloads_and_clusters_are_in_the_sweep(tmp_path):
    """So that workers need no other file."""
    write_files(tmp_path)
    sweep = sp.read_sweep(tmp_path / "sweep.toml")
    for file in tmp_path.iterdir():
        file.unlink()
    again = msgspec.json.decode(msgspec.json.encode(sweep), type=sp.Sweep)
    assert sp.solve(again.problem(3), "exact").status == "optimal"


@pytest.mark.parametrize(
    ("axis", "field"),
    [
        ("min_throughput = { from = 1e5, to = 1e6, points = 2.5 }", "points"),
        ('min_throughput = { from = 1e5, to = 1e6, points = "3" }', "points"),
        ("min_throughput = { from = 1e5, to = 1e6, points = true }", "points"),
        ('min_throughput = { from = 1e5, to = 1e6, step = "a" }', "step"),
        ('limit.a100 = { from = "a", to = 3 }', "from"),
    ],
)
def test_a_wrong_type_in_a_range_is_an_error_of_the_file(tmp_path, axis, field):
    file = tmp_path / "sweep.toml"
    file.write_text(f'[product]\nworkload = "ctr"\n{axis}\n')
    with pytest.raises(ValueError, match=rf"sweep\.toml: \S+\.{field} is .*; it must be"):
        sp.read_sweep(file)
