"""What commands write."""

import errno
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import CLUSTER, SHORT, WORKLOAD, fail, strict
from rich.cells import cell_len

import stageplan as sp
from stageplan import output
from stageplan.fields import printable


@pytest.mark.parametrize("command", [("plan", "net.toml"), ("score", "net.toml", "rows.npy")])
@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("missing/plan.json", "missing does not exist"),
        ("net.toml/plan.json", "net.toml does not exist"),
        (".", "a directory; it must be a file"),
        ("n" * 300, "File name too long"),
    ],
)
def test_unusable_outputs_are_refused_before_any_work(refused, monkeypatch, command, path, sentence):
    for work in ("search.solve", "search.evaluate", "problem.read_workload"):
        monkeypatch.delattr(f"stageplan.cli.{work}")
    assert sentence in refused(*command, "-o", path)


@pytest.mark.parametrize(
    ("argv", "output"),
    [
        (("plan", "net.toml"), "net.toml"),
        (("plan", "net.toml"), "./net.toml"),
        (("plan", "net.toml"), "link.toml"),
        (("plan", "net.toml", "--cluster", "types.toml"), "types.toml"),
        (("plan", "net.toml", "--initial", "plan.json"), "plan.json"),
        (("pareto", "net.toml"), "net.toml"),
        (("score", "net.toml", "plan.json"), "plan.json"),
        (("devices", "--catalogue", "types.toml"), "types.toml"),
        (("profile", "net.toml", "--device", "t4"), "net.toml"),
    ],
)
def test_a_file_that_is_read_is_not_replaced(refused, argv, output):
    Path("plan.json").write_text('{"scheme": [0, 0, 1]}')
    Path("link.toml").symlink_to("net.toml")
    before = {path: path.read_text() for path in Path().iterdir()}
    assert refused(*argv, "-o", output) == (
        f"--output is {Path(output)}, which is read too; it must be another file"
    )
    assert {path: path.read_text() for path in Path().iterdir()} == before


@pytest.mark.parametrize("exists", [False, True])
def test_unwritable_outputs_are_refused_before_any_work(refused, monkeypatch, exists):
    if exists:
        Path("plan.json").write_text("old")
    monkeypatch.setattr(os, "access", lambda path, mode: (Path(path).name == "plan.json") != exists)
    monkeypatch.delattr("stageplan.cli.problem.read_workload")
    assert refused("plan", "net.toml", "-o", "plan.json").endswith("is not writable")


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 2, "error: plan.json: No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
@pytest.mark.parametrize("old", [None, "old"])
def test_a_failed_write_leaves_everything_as_it_was(run, monkeypatch, error, status, sentence, old):
    if old is not None:
        Path("plan.json").write_text(old)
    before = sorted(os.listdir())
    monkeypatch.setattr(os, "fsync", fail(error))
    got, out, err = run("plan", "net.toml", *SHORT, "-o", "plan.json")
    assert (got, err) == (status, f"stageplan: {sentence}\n")
    assert "bottleneck" in out  # the search was not in vain
    assert sorted(os.listdir()) == before
    assert old is None or Path("plan.json").read_text() == old


def test_signal_is_handled_after_the_file_is_complete(run, monkeypatch):
    def fsync(number):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(os, "fsync", fsync)
    status, out, err = run("plan", "net.toml", *SHORT, "-o", "plan.json")
    assert (status, err) == (143, "stageplan: interrupted\n")
    assert "bottleneck" in out
    assert strict(Path("plan.json").read_text())["feasible"]


def test_links_are_preserved_and_new_files_have_default_permissions(run):
    Path("real.json").touch()
    Path("link.json").symlink_to("real.json")
    assert run("plan", "net.toml", *SHORT, "-o", "link.json")[0] == 0
    assert Path("link.json").is_symlink()
    assert strict(Path("real.json").read_text())["feasible"]
    Path("usual").touch()
    assert Path("real.json").stat().st_mode == Path("usual").stat().st_mode
    assert run("plan", "net.toml", *SHORT, "-o", "new.json")[0] == 0
    assert Path("new.json").stat().st_mode == Path("usual").stat().st_mode


WRITERS = [
    ("plan", "net.toml", *SHORT, "-o"),
    ("pareto", "net.toml", "--points", 2, "-o"),
    ("plan", "net.toml", *SHORT, "--method", "reinforce", "--save-policy"),
    ("devices", "-o"),
]


@pytest.mark.parametrize("command", WRITERS)
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o400])
def test_an_earlier_file_keeps_its_permissions(run, command, mode):
    if mode == 0o400 and os.geteuid() != 0:
        pytest.skip("only root may write such a file")
    for name in ("other", "file"):
        Path(name).touch(mode)
        Path(name).chmod(mode)
    assert run(*command, "file")[0] == 0
    assert Path("file").stat().st_size
    assert Path("file").stat().st_mode == Path("other").stat().st_mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file to another user")
def test_an_earlier_file_keeps_its_owner(run):
    Path("plan.json").touch()
    os.chown("plan.json", 12345, 23456)
    assert run("plan", "net.toml", *SHORT, "-o", "plan.json")[0] == 0
    status = Path("plan.json").stat()
    assert (status.st_uid, status.st_gid) == (12345, 23456)


def test_contents_are_never_readable_by_more_than_the_earlier_file_was(run, monkeypatch):
    Path("plan.json").touch(0o600)
    seen = []
    monkeypatch.setattr(os, "fsync", lambda number: seen.append(os.fstat(number).st_mode & 0o777))
    assert run("plan", "net.toml", *SHORT, "-o", "plan.json")[0] == 0
    assert seen == [0o600]


@pytest.mark.parametrize("command", WRITERS)
def test_a_file_that_cannot_be_written_is_named(run, monkeypatch, command):
    open_ = Path.open

    def refuse(path, *arguments, **options):
        if path.name.startswith(".stageplan-"):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return open_(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    status, out, err = run(*command, "file")
    assert (status, err) == (2, "stageplan: error: file: Read-only file system\n")
    assert out  # the work was not in vain


def test_python_names_the_file_that_cannot_be_written(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "fsync", fail(OSError(errno.ENOSPC, "No space left on device")))
    workload = sp.read_workload("ctr")
    with pytest.raises(OSError, match=r"No space left on device: '.*/net\.toml'$"):
        sp.write_workload(workload, tmp_path / "net.toml")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_device_is_written_and_not_replaced(run):
    assert run("plan", "net.toml", *SHORT, "-o", "/dev/null")[0] == 0
    assert Path("/dev/null").is_char_device()
    status, out, err = run("plan", "net.toml", *SHORT, "-o", "/dev/full")
    assert (status, err) == (2, "stageplan: error: /dev/full: No space left on device\n")
    assert "bottleneck" in out


# Tables -----------------------------------------------------------------------------------------------------

ROWS = [
    ("layer", "seconds", "note"),
    ("embedding of tokens", "123,456 ms", ""),
    ("頭[b]\n", "12 ms", "slowest"),
]


def test_a_table_is_aligned_and_its_lines_end_without_spaces():
    assert output.to_text(output.table(ROWS, left=(0, 2))).splitlines() == [
        "layer                   seconds  note",
        "embedding of tokens  123,456 ms",
        "頭[b]\\n                   12 ms  slowest",
    ]


@pytest.mark.parametrize("width", range(24, 40))
def test_a_wrapped_table_is_complete_and_its_numbers_stay_whole(width):
    text = output.to_text(output.table(ROWS, left=(0, 2)), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "123,456" in text
    cells = printable("".join(cell for row in ROWS for cell in row))
    assert sorted("".join(text.split())) == sorted(cells.replace(" ", ""))


SPARE = [("name", "a", "b", "c"), ("first", "1.5 ms", "2.5 ms", "3.5 ms")]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (29, ["name        a       b       c", "first  1.5 ms  2.5 ms  3.5 ms"]),
        (26, ["name       a      b      c", "first 1.5 ms 2.5 ms 3.5 ms"]),
        (25, ["name        a       c", "first  1.5 ms  3.5 ms"]),
        (18, ["name        c", "first  3.5 ms"]),
    ],
)
def test_a_narrow_table_leaves_out_the_columns_that_can_be_spared(width, lines):
    shown = output.table(SPARE, left=(0,), spare=(2, 1))
    assert output.to_text(shown, width).splitlines() == lines


def test_lines_beside_a_table_are_wrapped_between_words():
    shown = output.compose("a line that is not in columns", output.table(ROWS[:1], left=(0, 1, 2)), "")
    assert output.to_text(shown, 20).splitlines() == [
        "a line that is not",
        "in columns",
        "layer  seconds  note",
    ]


@pytest.mark.parametrize(
    "command", [("plan", "net.toml", *SHORT), ("pareto", "net.toml", "--points", 2), ("devices",), ("info",)]
)
def test_output_that_is_not_to_a_terminal_is_never_wrapped_or_coloured(run, monkeypatch, command):
    _, plain, _ = run(*command)
    assert max(map(len, plain.splitlines())) > 60
    for name, value in {"COLUMNS": "30", "FORCE_COLOR": "1", "TERM": "xterm-256color"}.items():
        monkeypatch.setenv(name, value)
    assert run(*command)[1] == plain
    assert "\x1b" not in plain


def test_output_to_a_terminal_is_wrapped_to_its_width(run, monkeypatch):
    _, plain, _ = run("devices")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "70")
    _, wrapped, _ = run("devices")
    assert max(map(len, plain.splitlines())) > 70 >= max(map(len, wrapped.splitlines()))
    assert sorted("".join(wrapped.split())) == sorted("".join(plain.split()))


def test_an_empty_table_is_left_out():
    assert output.to_text(output.compose("head", output.table([]), "")) == "head"


# Names with control characters --------------------------------------------------------------------------

EVIL = "\x1b[2J\r\x07\u202e\x9b\t\nnext line"


def with_evil_names(text):
    """Add control characters to all names in a file of TOML."""
    for name in ("net", "a", "b", "c", "types", "slow", "fast"):
        evil = json.dumps(name + EVIL)
        text = text.replace(f'name = "{name}"', f"name = {evil}")
        text = text.replace(f"{name} =", f"{evil} =") if name in ("slow", "fast") else text
    return text


def check_clean(text):
    assert "next line" in text
    assert all(character.isprintable() or character == "\n" for character in text)
    assert not any(line.startswith("next line") for line in text.splitlines())


@pytest.fixture
def evil_files(net_files):
    evil = [json.dumps(name + EVIL) for name in ("a", "c", "kind", "note")]
    head = f"ties = [[{evil[0]}, {evil[1]}]]\nnotes = [{evil[3]}]\n"
    workload = WORKLOAD.replace("memory = 10.0", f"memory = 10.0\nkind = {evil[2]}", 1)
    Path("net.toml").write_text(head + with_evil_names(workload))
    Path("types.toml").write_text(with_evil_names(CLUSTER).replace("price = 1.0", "price = 0.0"))


@pytest.mark.parametrize(
    "argv",
    [
        ("plan", "net.toml", *SHORT),
        ("plan", "net.toml", *SHORT, "--split", "--objective", "throughput"),
        ("plan", "net.toml", *SHORT, "-o", "-"),
        ("plan", "net.toml", *SHORT, "--max-price", 0.1, "--min-throughput", 1e5),
        ("plan", "net.toml", *SHORT, "--merge", "type", "--method", "annealing"),
        ("plan", "net.toml", "--method", "reinforce", "--max-runtime", 0, "--save-policy", "p" + EVIL),
        ("plan", "net.toml", "--device", "none" + EVIL),
        ("plan", "net.toml" + EVIL),
        ("plan", "net.toml", "--method", EVIL),
        ("plan", "net.toml", "-o", f"none/{EVIL}"),
        ("pareto", "net.toml", "--points", 3),
        ("score", "net.toml", "plan.json"),
        ("export", "plan.json", "--to", "torch"),
        ("export", "plan.json", "--to", "json"),
        ("export", "plan.json", "--to", "vllm"),
    ],
    ids=lambda argv: " ".join(map(str, argv)).removesuffix(EVIL),
)
def test_names_reach_the_terminal_without_control_characters(evil_files, run, argv):
    assert run("plan", "net.toml", *SHORT, "-o", "plan.json")[0] == 0
    check_clean("".join(run(*argv)[1:]))


def test_python_shows_names_without_control_characters():
    layers, types = ([f"{name}{EVIL}" for name in names] for names in ("abc", "xy"))
    arrays = sp.Problem.from_arrays(
        [[4.0, 1.0], [2.0, np.inf], [1.0, 2.0]], [1.0, 3.0], limit=[2, 2], memory=[1.0, 2.0, 3.0],
        capacity=[2.0, 9.0], max_price=100.0,
    )  # fmt: skip
    problem = arrays.replace(layer_names=layers, type_names=types)
    infeasible = problem.replace(limit=[0, 2])
    result = sp.solve(problem, "reinforce", stop=sp.MaxGenerations(1))
    broken = sp.Plan.of(infeasible, [0, 1, 1])
    shown = [problem, result, result.plan, broken, result.policy, sp.pareto(problem), sp.repair(infeasible)]
    for value in shown:
        check_clean(str(value))
    with pytest.raises(ValueError, match=r"must be those of the policy") as caught:
        result.policy.plan(problem.replace(type_names=("p" + EVIL, "q")))
    check_clean(str(caught.value))
