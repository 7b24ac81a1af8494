"""What a good user of numba or NumPy would write instead: the rivals that stageplan is measured against.

All score the same numbers as `stageplan.evaluate` at a target, in float64 and by the same tie rule, for the
problems of `instances`: a chain of layers that compute and send, with a limit of devices by type.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from numba import njit, prange

import stageplan as sp

Schemes = npt.NDArray[np.int8]
Array = npt.NDArray[np.float64]

TOLERANCE = 1e-9
MOST_DEVICES = 2**20
UNLIMITED = 1e300  # fastmath knows no infinity
INFEASIBLE = 1e9  # added to the fitness of a scheme that breaks a limit; more than any cost
CROSSOVER = 0.8  # chance that a child has two parents
CHUNK = 256  # schemes that share the scratch space of a thread


class Tables(NamedTuple):
    """A problem at a target, as flat arrays; what a stage's devices share is "parallel"."""

    serial: Array  # (L, T) seconds of compute
    parallel: Array
    send_serial: Array  # (L, T), 0 at the last layer
    send_parallel: Array
    price: Array  # (T,)
    limit: Array
    most: Array  # devices that a stage gets where none reach the target
    allowed: float  # stage time that the target allows
    fixed_price: float
    hours: float  # of all examples at one second each
    goal: float  # stage time that the problem's goal allows


def tables(problem: sp.Problem, target: float) -> Tables:
    """Lower a problem; refuses what these baselines do not compute."""
    _check(problem)
    alpha, beta = problem.compute_parallel, problem.transfer_parallel
    send = problem.send.copy()
    send[-1] = 0.0
    limit = np.minimum(problem.limit, UNLIMITED)
    return Tables(
        serial=problem.compute * (1 - alpha),
        parallel=problem.compute * alpha,
        send_serial=send * (1 - beta),
        send_parallel=send * beta,
        price=np.ascontiguousarray(problem.price),
        limit=limit,
        most=np.clip(limit, 1, MOST_DEVICES),
        allowed=(1 + TOLERANCE) / target,
        fixed_price=problem.fixed_price,
        hours=problem.goal.examples / 3600,
        goal=1 / problem.goal.min_throughput,
    )


def _check(problem: sp.Problem) -> None:
    goal = problem.goal
    plain = (goal.objective, goal.merge, goal.split, goal.overlap) == ("cost", "adjacent", False, True)
    unset = (goal.max_duration, goal.max_cost, goal.max_price, goal.max_devices_per_stage) == (None,) * 4
    free = not (problem.receive.any() or problem.tensors or np.isfinite(problem.capacity).any())
    if not (plain and unset and free and goal.min_throughput and np.isfinite(problem.compute).all()):
        raise ValueError("the baselines take the problems of `family` and its kin alone")


def _sums(times: Array) -> Array:
    return np.vstack([np.zeros(times.shape[1]), times.cumsum(axis=0)])


def empty_scores(n: int) -> sp.Scores:
    return sp.Scores(*(np.empty(n) for _ in range(3)))


# numba: a scheme at a time ---------------------------------------------------------------------------------


@njit(fastmath=True, error_model="numpy", inline="always")
def devices_for(serial, parallel, send_serial, send_parallel, allowed, most):
    """Fewest devices whose compute and transfer each take the allowed time at most."""
    if serial >= allowed or send_serial >= allowed:
        return most
    wanted = max(parallel / (allowed - serial), send_parallel / (allowed - send_serial))
    return max(1.0, np.ceil(wanted))


@njit(fastmath=True, error_model="numpy", inline="always")
def _stage(serial, parallel, last, label, t):
    """Devices of a stage and its time."""
    send_serial, send_parallel = t.send_serial[last, label], t.send_parallel[last, label]
    devices = devices_for(serial, parallel, send_serial, send_parallel, t.allowed, t.most[label])
    share = 1.0 / devices
    return devices, max(serial + parallel * share, send_serial + send_parallel * share)


@njit(fastmath=True, error_model="numpy", inline="always")
def _plan(time, price, t, counts):
    """Cost, stage time and violation of a plan; leaves `counts` zero."""
    violation = 0.0
    for label in range(len(counts)):
        violation += max(0.0, counts[label] - t.limit[label]) / max(1.0, t.limit[label])
        counts[label] = 0.0
    if time > t.goal * (1 + TOLERANCE):
        violation += time / t.goal - 1
    return t.hours * time * price, time, violation


@njit(fastmath=True, error_model="numpy", inline="always")
def _score_by_run(scheme, t, counts):
    """Score a scheme run by run: the faster way where runs are long."""
    work_serial, work_parallel = t.serial, t.parallel  # numba reads local names faster
    layers = len(scheme)
    time, price = 0.0, t.fixed_price
    layer = 0
    while layer < layers:
        label, serial, parallel = scheme[layer], 0.0, 0.0
        while layer < layers and scheme[layer] == label:
            serial += work_serial[layer, label]
            parallel += work_parallel[layer, label]
            layer += 1
        devices, stage_time = _stage(serial, parallel, layer - 1, label, t)
        time = max(time, stage_time)
        price += t.price[label] * devices
        counts[label] += devices
    return _plan(time, price, t, counts)


@njit(fastmath=True, error_model="numpy", inline="always")
def _score_by_layer(scheme, t, counts):
    """Score a scheme layer by layer: the faster way where runs are short."""
    work_serial, work_parallel = t.serial, t.parallel
    layers = len(scheme)
    time, price = 0.0, t.fixed_price
    label, serial, parallel = scheme[0], 0.0, 0.0
    for layer in range(layers):
        serial += work_serial[layer, label]
        parallel += work_parallel[layer, label]
        following = scheme[layer + 1] if layer + 1 < layers else -1
        if following != label:
            devices, stage_time = _stage(serial, parallel, layer, label, t)
            time = max(time, stage_time)
            price += t.price[label] * devices
            counts[label] += devices
            label, serial, parallel = following, 0.0, 0.0
    return _plan(time, price, t, counts)


@njit(fastmath=True, error_model="numpy", inline="always")
def _fitness_one(scheme, t, counts):
    cost, _, violation = _score_by_run(scheme, t, counts)
    return cost if violation == 0 else INFEASIBLE * (1 + violation)


def _parallel_scorer(score_one):
    @njit(parallel=True, fastmath=True, error_model="numpy")
    def score(schemes, t, cost, throughput, violation):
        n = len(schemes)
        for chunk in prange((n + CHUNK - 1) // CHUNK):
            counts = np.zeros(len(t.price))
            for i in range(chunk * CHUNK, min(n, (chunk + 1) * CHUNK)):
                cost[i], time, violation[i] = score_one(schemes[i], t, counts)
                throughput[i] = 1.0 / time

    return score


@njit(parallel=True, fastmath=True, error_model="numpy")
def _score_fitness(schemes, t, fitness):
    n = len(schemes)
    for chunk in prange((n + CHUNK - 1) // CHUNK):
        counts = np.zeros(len(t.price))
        for i in range(chunk * CHUNK, min(n, (chunk + 1) * CHUNK)):
            fitness[i] = _fitness_one(schemes[i], t, counts)


class NumbaScorer:
    """Parallel numba loop over schemes; scores like `stageplan.evaluate`.

    Its inner loop goes ``by`` ``"run"`` or by ``"layer"``: which is faster depends on the population.
    """

    BY = {"run": _parallel_scorer(_score_by_run), "layer": _parallel_scorer(_score_by_layer)}  # noqa: RUF012

    def __init__(self, problem: sp.Problem, target: float = 1.0, by: str = "run") -> None:
        self.tables = tables(problem, target)
        self.score = self.BY[by]

    def __call__(self, schemes: Schemes, out: sp.Scores | None = None) -> sp.Scores:
        scores = empty_scores(len(schemes)) if out is None else out
        self.score(schemes, self.tables, *scores[:3])
        return scores

    def fitness(self, schemes: npt.NDArray[np.number]) -> Array:
        """Cost of each scheme, far more where a limit is broken: one number to minimise, for the peers."""
        fitness = np.empty(len(schemes))
        _score_fitness(np.ascontiguousarray(schemes, np.int8), self.tables, fitness)
        return fitness


# NumPy: a layer at a time, all schemes at once -------------------------------------------------------------


class NumpyScorer:
    """Vectorised over the population; scores like `stageplan.evaluate`."""

    def __init__(self, problem: sp.Problem, target: float = 1.0) -> None:
        self.tables = tables(problem, target)
        self.serial, self.parallel = _sums(self.tables.serial), _sums(self.tables.parallel)

    def __call__(self, schemes: Schemes) -> sp.Scores:
        t = self.tables
        n, layers = schemes.shape
        genes = np.ascontiguousarray(schemes.T)
        counts, time = np.zeros((n, len(t.price))), np.zeros(n)
        first = np.zeros(n, np.intp)
        for last in range(layers):
            ends = np.arange(n) if last == layers - 1 else np.flatnonzero(genes[last] != genes[last + 1])
            labels = genes[last, ends].astype(np.intp)
            devices, stage_time = self._stages(first[ends], last, labels)
            counts[ends, labels] += devices
            time[ends] = np.maximum(time[ends], stage_time)
            first[ends] = last + 1
        return self._plans(counts, time)

    def _stages(
        self, first: npt.NDArray[np.intp], last: int, labels: npt.NDArray[np.intp]
    ) -> tuple[Array, Array]:
        t = self.tables
        serial = self.serial[last + 1, labels] - self.serial[first, labels]
        parallel = self.parallel[last + 1, labels] - self.parallel[first, labels]
        send_serial, send_parallel = t.send_serial[last, labels], t.send_parallel[last, labels]
        with np.errstate(divide="ignore"):
            wanted = np.maximum(parallel / (t.allowed - serial), send_parallel / (t.allowed - send_serial))
        missed = np.maximum(serial, send_serial) >= t.allowed
        devices = np.where(missed, t.most[labels], np.maximum(1.0, np.ceil(wanted)))
        return devices, np.maximum(serial + parallel / devices, send_serial + send_parallel / devices)

    def _plans(self, counts: Array, time: Array) -> sp.Scores:
        t = self.tables
        violation = (np.maximum(0, counts - t.limit) / np.maximum(1, t.limit)).sum(axis=1)
        violation += np.where(time > t.goal * (1 + TOLERANCE), time / t.goal - 1, 0)
        return sp.Scores(t.hours * time * (t.fixed_price + counts @ t.price), 1 / time, violation)


# numba: a genetic algorithm --------------------------------------------------------------------------------


@njit(inline="always")
def _below(bound):
    return int(np.random.random() * bound)


@njit(inline="always")
def _tournament(fitness):
    a, b = _below(len(fitness)), _below(len(fitness))
    return a if fitness[a] <= fitness[b] else b


@njit
def _mutate(child, types, turn):
    """Change the label of one layer or of a random run of layers, or shift a boundary, in turn."""
    if turn % 2 == 1:
        _shift_boundary(child)
        return
    first = _below(len(child))
    length = 1 if turn % 4 == 0 else 1 + _below(len(child) - first)
    child[first : first + length] = _below(types)


@njit
def _shift_boundary(child):
    layers = len(child)
    at = 1 + _below(layers - 1)
    for _ in range(layers):
        if child[at] != child[at - 1]:
            break
        at = at + 1 if at + 1 < layers else 1
    length = 1 + _below(1 + _below(4))
    if _below(2) == 0:
        child[at : min(layers, at + length)] = child[at - 1]
    else:
        child[max(0, at - length) : at] = child[at]


@njit(inline="always")
def _breed(child, population, fitness, types, turn):
    """Make a child as stageplan does: shares of crossover and of mutations are dealt in turn, not drawn."""
    layers = len(child)
    child[:] = population[_tournament(fitness)]
    crossed = turn % 5 != 0
    if crossed:
        cut = 1 + _below(layers - 1)
        child[cut:] = population[_tournament(fitness), cut:]
    for m in range((turn % 4 + 1) // 2 if crossed else 2):
        _mutate(child, types, turn // 4 + m)


def _generation(population, fitness, children, child_fitness, t):
    """Keep the fittest scheme, breed and score the others."""
    n, types = len(population), len(t.price)
    best = np.argmin(fitness)
    children[0] = population[best]
    child_fitness[0] = fitness[best]
    for chunk in prange((n - 1 + CHUNK - 1) // CHUNK):
        counts = np.zeros(types)
        begin = 1 + chunk * CHUNK
        for i in range(begin, min(n, begin + CHUNK)):
            _breed(children[i], population, fitness, types, i)
            child_fitness[i] = _fitness_one(children[i], t, counts)


@njit
def _seed(seed):
    np.random.seed(seed)


class NumbaGenetic:
    """Genetic algorithm with stageplan's operators, a whole generation in one compiled function."""

    GENERATION = {  # noqa: RUF012
        parallel: njit(_generation, parallel=parallel, fastmath=True, error_model="numpy")
        for parallel in (False, True)
    }

    def __init__(self, problem: sp.Problem, population: int, seed: int = 0, parallel: bool = False) -> None:
        scorer = NumbaScorer(problem, problem.goal.min_throughput)
        shape = (population, problem.n_layers)
        self.tables = scorer.tables
        self.step = self.GENERATION[parallel]
        _seed(seed)
        self.population = np.random.default_rng(seed).integers(0, problem.n_types, shape, dtype=np.int8)
        self.fitness = scorer.fitness(self.population)
        self.children, self.child_fitness = np.empty_like(self.population), np.empty_like(self.fitness)

    def advance(self, generations: int) -> float:
        """Run some generations; returns the least fitness so far."""
        for _ in range(generations):
            self.step(self.population, self.fitness, self.children, self.child_fitness, self.tables)
            self.population, self.children = self.children, self.population
            self.fitness, self.child_fitness = self.child_fitness, self.fitness
        return float(self.fitness.min())


# Batched operators of the same kind, for the peers that let their users bring operators ------------------


@njit(inline="always")
def _copy_crossed(child, first, second):
    child[:] = first
    if np.random.random() < CROSSOVER:
        cut = 1 + _below(len(child) - 1)
        child[cut:] = second[cut:]


@njit
def crossed(first, second):
    """Cut each pair of parents at one point and join them."""
    children = np.empty_like(first)
    for i in range(len(first)):
        _copy_crossed(children[i], first[i], second[i])
    return children


@njit
def mutated(schemes, types):
    """Mutate each scheme once, in place."""
    for i in range(len(schemes)):
        _mutate(schemes[i], types, i)
    return schemes


@njit
def winners(fitness, count):
    """Hold `count` tournaments of two; less fitness wins."""
    chosen = np.empty(count, np.int64)
    for i in range(count):
        chosen[i] = _tournament(fitness)
    return chosen


def one_thread() -> None:
    """Let numba use one thread, so that CPU times compare core with core."""
    numba.set_num_threads(1)
