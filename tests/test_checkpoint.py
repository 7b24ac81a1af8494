"""Searches that were ended and continue from a checkpoint: the same results, and files that are refused."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_state import PROBLEMS, example

import stageplan as sp
from stageplan import _core, checkpoint
from stageplan.stop import MaxGenerations, MaxWork

LIMITS = PROBLEMS["limits"]
LATER = MaxGenerations(12)


def facts(result: sp.Result) -> tuple[Any, ...]:
    """All that must not depend on whether a search was ended; times do."""
    numbers = [{**p.to_dict(), "runtime": None, "scheme": p.scheme.tobytes()} for p in result.history]
    plan = result.plan
    return (
        plan.scheme.tobytes(), plan.cost, plan.time, plan.price, result.bound, result.gap, result.status,
        result.evaluations, result.generations, result.work, result.interrupted, result.policy, numbers,
    )  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.ckpt"


# The same results ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "name", "options"),
    [
        ("genetic", "limits", {}),
        ("genetic", "a schedule", {"population": 30}),
        ("genetic", "limits", {"initial": np.array([[0, 1, 2, 2] * 4], np.int8)}),
        ("genetic", "limits", {"initial": "relaxation"}),
        ("reinforce", "limits", {"population": 4}),
        ("reinforce", "stages of any layers", {"population": 4, "cell": "rnn"}),
        ("reinforce", "max_cost", {"population": 4, "accept": "incumbent"}),
        ("annealing", "stages of any layers", {}),
        ("random", "limits", {}),
        ("random", "a schedule", {}),
        ("enumerate", "few layers", {}),
        ("enumerate", "nine layers", {}),
        ("greedy", "limits", {}),
        ("exact", "many intervals", {}),
        ("exact", "many boxes", {}),
        ("auto", "nothing fits", {}),
        ("auto", "stages of any layers", {}),
        ("auto", "few layers", {}),
        ("auto", "many boxes", {}),
    ],
)
def test_a_search_ended_twice_gives_the_same_result(
    file: Path, method: Any, name: str, options: dict[str, Any]
) -> None:
    more = {"max_cost": example(max_cost=1e6), "nine layers": example(9)}
    problem = (PROBLEMS | more)[name]
    whole = sp.solve(problem, method, seed=3, threads=1, stop=LATER, **options)
    for stop, threads in ((MaxGenerations(3), 2), (MaxWork(whole.work // 2), 1), (LATER, 2)):
        last = sp.solve(problem, method, seed=3, stop=stop, threads=threads, checkpoint=file, **options)
    assert facts(last) == facts(whole)
    assert whole.runtime > 0
    # Once more, at its end: nothing is left to do.
    again = sp.solve(problem, method, seed=3, stop=LATER, checkpoint=file, **options)
    assert (facts(again), again.runtime) == (facts(whole), last.runtime)


def test_a_policy_continues_its_training_the_same_way(file: Path) -> None:
    policy = sp.solve(LIMITS, "reinforce", population=4, stop=MaxGenerations(2)).policy
    whole = sp.solve(LIMITS, "reinforce", policy=policy, population=4, stop=MaxGenerations(4))
    for stop in (MaxGenerations(2), MaxGenerations(4)):
        last = sp.solve(LIMITS, "reinforce", policy=policy, population=4, stop=stop, checkpoint=file)
    assert facts(last) == facts(whole)


def test_convergence_counts_the_generations_of_all_parts(file: Path) -> None:
    whole = sp.solve(LIMITS, "genetic", stop=sp.NoImprovement(30))
    sp.solve(LIMITS, "genetic", stop=MaxGenerations(whole.generations - 3), checkpoint=file)
    last = sp.solve(LIMITS, "genetic", stop=sp.NoImprovement(30), checkpoint=file)
    assert facts(last) == facts(whole)


class EndedError(Exception):
    """What ends a search from a callback."""


@pytest.mark.parametrize("error", [EndedError, KeyboardInterrupt])
@pytest.mark.parametrize("method", ["genetic", "exact", "auto"])
def test_a_search_that_an_error_ends_continues(file: Path, method: Any, error: type[BaseException]) -> None:
    """The state is that after the last step, which the callback does not cut."""
    problem = PROBLEMS["many intervals"] if method == "exact" else LIMITS
    whole = sp.solve(problem, method, stop=LATER)
    ended = 0

    def callback(progress: sp.Progress) -> None:
        if progress.generation % 3 == 2:
            raise error

    last = None
    while last is None or last.interrupted:
        with suppress(EndedError):
            last = sp.solve(problem, method, stop=LATER, checkpoint=file, callback=callback)
        ended += 1
        assert ended < 20
    assert facts(last) == facts(whole)
    assert ended == whole.generations // 3 + (whole.generations % 3 == 2) + 1


def test_runtimes_of_all_parts_count(file: Path) -> None:
    problem = example(64, merge="type")
    first = sp.solve(problem, "annealing", stop=MaxGenerations(8), checkpoint=file)
    last = sp.solve(problem, "annealing", stop=sp.MaxRuntime(first.runtime / 2), checkpoint=file)
    assert last.generations == first.generations
    longer = sp.solve(problem, "annealing", stop=MaxGenerations(12), checkpoint=file)
    assert longer.runtime > first.runtime
    assert longer.history[: len(first.history) - 1] == first.history[:-1]


_RUN = """
import sys
from test_checkpoint import LONG, facts
import stageplan as sp
method, file, threads, generations = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
stop = sp.MaxGenerations(generations)
print("begun", flush=True)
result = sp.solve(LONG[method], method, stop=stop, checkpoint=file, checkpoint_every=0, threads=threads)
print(facts(result))
"""
LONG = {"genetic": example(64), "exact": PROBLEMS["many intervals"]}


@pytest.mark.parametrize(("method", "generations"), [("genetic", 300), ("exact", 60)])
def test_a_killed_search_gives_the_same_result(file: Path, method: Any, generations: int) -> None:
    """Killed three times, on other numbers of threads and instruction sets."""
    whole = sp.solve(LONG[method], method, stop=MaxGenerations(generations), threads=1)
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    sets = _core.instruction_sets()

    def start(part: int) -> "subprocess.Popen[str]":
        environment = os.environ | {"PYTHONPATH": paths, "STAGEPLAN_ISA": sets[part % len(sets)]}
        command = [sys.executable, "-c", _RUN, method, str(file), str(1 + part % 2), str(generations)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    for part in range(3):
        with start(part) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            before = file.stat().st_mtime_ns if file.exists() else 0
            while process.poll() is None and (not file.exists() or file.stat().st_mtime_ns == before):
                time.sleep(0.002)
            process.kill()
    with start(3) as process:
        out, _ = process.communicate()
    assert process.returncode == 0
    assert out == f"begun\n{facts(whole)}\n"


# Files that are refused ---------------------------------------------------------------------------------


@pytest.fixture
def saved(file: Path) -> Path:
    sp.solve(LIMITS, "genetic", stop=MaxGenerations(3), checkpoint=file)
    return file


def refused(file: Path, problem: sp.Problem = LIMITS, **options: Any) -> str:
    """Return the sentence with which a search refuses the file, which is left as it is."""
    before = file.read_bytes()
    with pytest.raises(sp.InputError) as caught:
        sp.solve(problem, **({"method": "genetic", "checkpoint": file} | options))
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]
    return str(caught.value).removeprefix(f"{file}: ")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"seed": 1}, "its seed is 0, here it is 1"),
        ({"population": 12}, "its population is 256, here it is 12"),
        ({"method": "random"}, "its method is genetic, here it is random"),
        ({"initial": np.zeros((1, 16), np.int8)}, "its initial is another one"),
        ({"initial": "relaxation"}, "its initial is another one"),
        ({"problem": LIMITS.replace(min_throughput=1.1)}, "its problem is another one"),
        ({"problem": LIMITS.replace(price=[1.0, 1.4, 2.1])}, "its problem is another one"),
        ({"problem": example(15)}, "its problem is another one"),
    ],
)
def test_the_checkpoint_of_another_search_is_refused(saved: Path, options: dict[str, Any], what: str) -> None:
    assert refused(saved, **options) == f"it is the checkpoint of another search: {what}"


def test_the_checkpoint_of_another_policy_is_refused(file: Path) -> None:
    short = MaxGenerations(1)
    first, second = (
        sp.solve(LIMITS, "reinforce", seed=seed, population=4, stop=short).policy for seed in (1, 2)
    )
    sp.solve(LIMITS, "reinforce", population=4, stop=short, policy=first, checkpoint=file)
    options = {"method": "reinforce", "population": 4}
    same = "it is the checkpoint of another search: its"
    assert refused(file, policy=second, **options) == f"{same} policy is another one"
    assert refused(file, **options) == f"{same} policy is another one"


def test_other_versions_are_refused(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = saved.read_bytes()
    assert raw.startswith(b"stageplan checkpoint 1\n")
    saved.write_bytes(raw.replace(b"checkpoint 1\n", b"checkpoint 12\n", 1))
    wrong = "it is a checkpoint of format 12; this version of stageplan reads format 1"
    assert refused(saved) == wrong
    saved.write_bytes(raw)
    monkeypatch.setattr(sys.modules["stageplan.solve"], "__version__", "9.9")
    assert refused(saved) == (
        f"it was written by stageplan {sp.__version__}; it continues only in that version"
    )


@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x04K\x01.", b"stageplan checkpoin", bytes(500)])
def test_other_files_are_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert refused(file) == "it is not the checkpoint of a search"


DAMAGED = "the checkpoint is damaged or cut short"


@pytest.mark.parametrize("left", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_short_is_refused(saved: Path, left: float) -> None:
    raw = saved.read_bytes()
    saved.write_bytes(raw[: 22 + int(left * (len(raw) - 22))])
    assert refused(saved) == DAMAGED


def test_a_changed_byte_is_refused(saved: Path) -> None:
    raw, rng = saved.read_bytes(), np.random.default_rng(5)
    places = [*range(80), *rng.integers(len(raw), size=60)]
    for place in places:
        changed = bytearray(raw)
        changed[place] ^= 1 << rng.integers(8)
        saved.write_bytes(changed)
        sentence = refused(saved)
        assert sentence in (DAMAGED, "it is not the checkpoint of a search") or "of format" in sentence


def rewritten(file: Path, change: Callable[[bytes, bytes], tuple[bytes, bytes]]) -> None:
    """Change the document and the native state of a file, and make its hash fit again."""
    raw = file.read_bytes()
    body = raw[len(b"stageplan checkpoint 1\n") + 32 :]
    length = int.from_bytes(body[:8], "little")
    document, state = change(body[8 : 8 + length], body[8 + length :])
    parts = [len(document).to_bytes(8, "little"), document, state]
    file.write_bytes(b"stageplan checkpoint 1\n" + checkpoint.hash_of(parts) + b"".join(parts))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda document, state: (document[:-1], state), DAMAGED),
        (lambda document, state: (b"\x90", state), DAMAGED),
        (lambda document, state: (b"", b""), DAMAGED),
        (lambda document, state: (document, state[:-1]), "the state of the search is damaged"),
        (lambda document, state: (document, b""), "the state of the search is damaged"),
        (lambda document, state: (document, state + state), "the state of the search is damaged"),
    ],
)
def test_a_damaged_file_with_a_fitting_hash_is_refused(saved: Path, change: Any, sentence: str) -> None:
    rewritten(saved, change)
    assert refused(saved).startswith(sentence)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (3, "checkpoint is 3; it must be a path"),
        ("a\0b", "checkpoint is 'a\\x00b'; it must be a text without zero bytes"),
        ("absent/run.ckpt", "checkpoint is absent/run.ckpt; its directory .*/absent does not exist"),
        (".", "checkpoint is ., a directory; it must be a file"),
        (os.devnull, f"checkpoint is {os.devnull}; it must be a file"),
    ],
)
def test_bad_paths_are_refused(
    path: Any, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((sp.InputError, sp.InputTypeError), match=f"^{sentence}$".replace("\\", "\\\\")):
        sp.solve(LIMITS, checkpoint=path)


def test_bad_intervals_are_refused(file: Path) -> None:
    with pytest.raises(
        sp.InputError, match=r"^checkpoint_every is -1; it must be a finite number, at least 0$"
    ):
        sp.solve(LIMITS, checkpoint=file, checkpoint_every=-1)
    assert not file.exists()


# Writes that fail ---------------------------------------------------------------------------------------


def test_a_search_whose_checkpoint_cannot_be_written_has_its_result(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr(checkpoint, "write_whole", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        sp.solve(LIMITS, "genetic", stop=MaxGenerations(3), checkpoint=file, checkpoint_every=0)
    result = caught.value.result  # type: ignore[attr-defined]
    assert facts(result) == facts(sp.solve(LIMITS, "genetic", stop=MaxGenerations(3)))
    assert {record.message for record in caplog.records} == {
        f"{file}: the checkpoint was not written: No space left on device"
    }


def test_a_search_goes_on_where_one_write_fails(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, write = [], checkpoint.write_whole

    def full_at_first(path: Path, content: Any) -> None:
        calls.append(path)
        if len(calls) == 1:
            raise OSError(28, "No space left on device", str(file))
        write(path, content)

    monkeypatch.setattr(checkpoint, "write_whole", full_at_first)
    sp.solve(LIMITS, "genetic", stop=MaxGenerations(3), checkpoint=file, checkpoint_every=0)
    assert len(calls) >= 2
    last = sp.solve(LIMITS, "genetic", stop=LATER, checkpoint=file)
    assert facts(last) == facts(sp.solve(LIMITS, "genetic", stop=LATER))


# Two searches -------------------------------------------------------------------------------------------


def test_a_file_that_another_search_is_using_is_refused(file: Path) -> None:
    refused = []

    def search_again(_: sp.Progress) -> None:
        if file.exists():
            before = file.read_bytes()
            with pytest.raises(sp.InputError) as caught:
                sp.solve(LIMITS, "genetic", stop=LATER, checkpoint=file)
            refused.append(str(caught.value))
            assert file.read_bytes() == before

    stop = MaxGenerations(3)
    first = sp.solve(LIMITS, "genetic", stop=stop, checkpoint=file, checkpoint_every=0, callback=search_again)
    assert set(refused) == {f"checkpoint is {file}; another search is using it"}
    assert facts(first) == facts(sp.solve(LIMITS, "genetic", stop=stop))
    assert os.listdir(file.parent) == [file.name]
    last = sp.solve(LIMITS, "genetic", stop=LATER, checkpoint=file)
    assert facts(last) == facts(sp.solve(LIMITS, "genetic", stop=LATER))
