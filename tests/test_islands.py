"""Islands: the same bits whatever runs their epochs."""

import multiprocessing
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import stageplan as sp
from stageplan.islands import Islands


def problem(types=4, **goal):
    rng = np.random.default_rng(5)
    return sp.Problem.from_arrays(
        compute=rng.uniform(0.5, 2.0, (14, types)),
        price=rng.uniform(1.0, 3.0, types),
        limit=[3] * types,
        send=np.full((14, types), 0.05),
        examples=3600,
        min_throughput=0.8,
        **goal,
    )


def solve(problem, seed=7, islands=3, stop=3, **options):
    return sp.solve(
        problem,
        "genetic",
        seed=seed,
        islands=islands,
        population=8,
        stop=sp.MaxGenerations(stop),
        **options,
    )


def outcome(result):
    history = [(p.generation, p.evaluations, p.cost, p.scheme.tobytes()) for p in result.history]
    return (
        result.plan.scheme.tobytes(),
        result.plan.cost,
        result.bound,
        result.evaluations,
        result.work,
        history,
    )


class Backwards:
    """An executor that does the calls of an epoch in reverse order, when the last has been submitted."""

    def __init__(self, count):
        self.count, self.calls = count, []

    def submit(self, fn, *args):
        self.calls.append((Future(), fn, args))
        future = self.calls[-1][0]
        if len(self.calls) == self.count:
            for waiting, call, given in reversed(self.calls):
                waiting.set_result(call(*given))
            self.calls = []
        return future


@pytest.fixture(scope="module")
def alone():
    return outcome(solve(problem(), threads=1))


@pytest.mark.parametrize("engine", ["2 threads", "pool", "map", "processes", "backwards"])
def test_any_engine_has_the_same_result(engine, alone):
    if engine == "2 threads":
        result = solve(problem(), threads=2)
    elif engine == "pool":
        with ThreadPoolExecutor(3) as executor:
            result = solve(problem(), executor=executor)
    elif engine == "processes":
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("forkserver")) as executor:
            result = solve(problem(), executor=executor)
    else:
        result = solve(problem(), executor={"map": map, "backwards": Backwards(3)}[engine])
    assert outcome(result) == alone


def test_islands_find_the_optimum(alone):
    assert alone[1] == pytest.approx(sp.solve(problem(), "exact").plan.cost)


@pytest.mark.parametrize(
    "goal", [{"objective": "throughput"}, {"objective": "price"}, {"same_replicas": True}, {"merge": "type"}]
)
def test_islands_go_on_from_their_state(goal):
    def search():
        return Islands(problem(**goal), 3, 8, 2, 1, np.empty((0, 14), np.int8))

    whole, first, second = search(), search(), search()
    for _ in range(3):
        whole.step()
    first.step()
    second.restore(first.state())
    for _ in range(2):
        second.step()
    assert second.state() == whole.state()
    assert second.best.tobytes() == whole.best.tobytes()
    assert second.best_score.cost == whole.best_score.cost
    assert (second.evaluations, second.work) == (whole.evaluations, whole.work)


def test_a_damaged_state_is_refused():
    search = Islands(problem(), 2, 8, 0, 1, np.empty((0, 14), np.int8))
    search.step()
    state = search.state()
    for wrong in (b"", state[:-1], b"\x93" + state[1:]):
        with pytest.raises(ValueError, match="damaged, or of another one"):
            search.restore(wrong)
    assert search.state() == state


def test_more_islands_and_another_seed_are_other_searches(alone):
    assert outcome(solve(problem(), islands=4, threads=1))[3] != alone[3]
    assert outcome(solve(problem(), seed=8, threads=1))[3] != alone[3]


def test_one_island_receives_nothing():
    result = solve(problem(), islands=1, threads=1)
    assert result.plan.feasible
    assert result.generations == 3


def test_islands_begin_with_initial_schemes():
    best = sp.solve(problem(), "exact")
    result = solve(problem(), stop=1, threads=1, initial=best)
    assert result.plan.cost == best.plan.cost


class Losing:
    """An executor that loses its first calls."""

    def __init__(self, count):
        self.left = count

    def submit(self, fn, *args):
        future = Future()
        if self.left:
            self.left -= 1
            future.set_exception(OSError("the worker is gone"))
        else:
            future.set_result(fn(*args))
        return future


def test_a_lost_epoch_is_tried_again(alone):
    assert outcome(solve(problem(), executor=Losing(2))) == alone


def test_an_engine_that_fails_keeps_the_result():
    with pytest.raises(sp.ExecutorError, match="lost an epoch of an island 3 times: the worker is gone"):
        solve(problem(), executor=Losing(99))

    class Breaking(Losing):
        def submit(self, fn, *args):
            self.left -= 1
            if self.left < 0:
                raise BrokenExecutor("no workers")
            return Losing.submit(Losing(0), fn, *args)

    with pytest.raises(sp.ExecutorError, match="the executor broke down: no workers") as caught:
        solve(problem(), executor=Breaking(4))
    assert caught.value.result.plan.feasible
    assert caught.value.result.generations == 1


def test_a_deadline_ends_islands():
    result = sp.solve(problem(), "genetic", islands=2, threads=1, stop=sp.MaxRuntime(0.0))
    assert result.plan.scheme.shape == (14,)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"islands": 2}, ValueError, "islands is given with method 'auto'; it requires method 'genetic'"),
        ({"method": "genetic", "islands": 0}, ValueError, "islands is 0; it must be"),
        ({"method": "genetic", "islands": 2.5}, TypeError, "islands is 2.5; it must be"),
        ({"method": "genetic", "executor": map}, ValueError, "executor is given without islands"),
        (
            {"method": "genetic", "islands": 2, "executor": 3},
            TypeError,
            "executor is 3; it must be an executor",
        ),
    ],
)
def test_wrong_arguments_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        sp.solve(problem(), **options)


def test_islands_continue_from_a_checkpoint(tmp_path, alone):
    file = tmp_path / "run.ckpt"
    solve(problem(), stop=1, threads=1, checkpoint=file)
    assert outcome(solve(problem(), threads=2, checkpoint=file)) == alone
    with pytest.raises(ValueError, match="its islands is 3, here it is 4"):
        solve(problem(), islands=4, checkpoint=file)
