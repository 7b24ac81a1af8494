"""Native core of stageplan."""

from collections.abc import Sequence
from types import ModuleType
from typing import ClassVar, final

import numpy as np
import numpy.typing as npt

from .errors import InputError

TOLERANCE: float
TIE: float
MAX_DEVICES: int
testing: ModuleType  # what only tests and benchmarks call
capi: object  # a capsule: the functions of stageplan/capi.h

def capi_problem(problem: Problem) -> int: ...  # the address of a handle
def instruction_set() -> str: ...
def instruction_sets() -> list[str]: ...

@final
class ProblemData:
    layers: int
    types: int
    compute: npt.NDArray[np.float64]
    send: npt.NDArray[np.float64]
    receive: npt.NDArray[np.float64]
    compute_parallel: npt.NDArray[np.float64]
    transfer_parallel: npt.NDArray[np.float64]
    memory: npt.NDArray[np.float64]
    workspace: npt.NDArray[np.float64]
    price: npt.NDArray[np.float64]
    limit: npt.NDArray[np.float64]
    capacity: npt.NDArray[np.float64]
    bandwidth: npt.NDArray[np.float64]
    kinds: Sequence[int]
    fixed_price: float
    examples: float
    min_throughput: float
    max_duration: float
    max_cost: float
    max_price: float
    objective: str
    by_type: bool
    overlap: bool
    split: bool
    max_devices_per_stage: int
    def set_tensors(self, tensors: Sequence[tuple[int, Sequence[int], float]]) -> None: ...
    def set_columns(self, columns: Columns) -> None: ...
    def set_plan_cost(self, plan_cost: PlanCost) -> None: ...

@final
class Columns:
    type: Sequence[int]
    degree: Sequence[int]
    strategy: Sequence[int]
    compute: npt.NDArray[np.float64]
    send: npt.NDArray[np.float64]
    receive: npt.NDArray[np.float64]
    compute_parallel: npt.NDArray[np.float64]
    memory: npt.NDArray[np.float64]
    sharded: npt.NDArray[np.float64]
    activations: npt.NDArray[np.float64]
    workspace: npt.NDArray[np.float64]
    gradients: npt.NDArray[np.float64]
    update: npt.NDArray[np.float64]
    link: npt.NDArray[np.float64]
    network: npt.NDArray[np.float64]
    machine: npt.NDArray[np.float64]
    schedule: str
    microbatches: int
    batch: float
    max_stages: int
    whole_machines: bool
    same_strategy: bool
    same_replicas: bool
    equal_shares: bool
    def set_listed(
        self,
        *,
        begin: npt.NDArray[np.uint32],
        devices: npt.NDArray[np.int32] | None,
        column: npt.NDArray[np.int32] | None,
        replicas: npt.NDArray[np.int32] | None,
        time: npt.NDArray[np.float64],
        pass_time: npt.NDArray[np.float64] | None,
        sync: npt.NDArray[np.float64] | None,
        memory: npt.NDArray[np.float64] | None,
        activations: npt.NDArray[np.float64] | None,
    ) -> None: ...

@final
class PlanCost:
    def __init__(self, name: str, function: int, constants: int, layout: Sequence[int]) -> None: ...

class PlanCostError(InputError):
    raised: bool
    stages: bytes
    plan: bytes

@final
class Problem:
    def __init__(self, data: ProblemData) -> None: ...
    @property
    def label_types(self) -> list[int]: ...

@final
class Score:
    @property
    def cost(self) -> float: ...
    @property
    def time(self) -> float: ...
    @property
    def violation(self) -> float: ...
    @property
    def price(self) -> float: ...

@final
class Stage:
    @property
    def label(self) -> int: ...
    @property
    def type(self) -> int: ...
    @property
    def devices(self) -> int: ...
    @property
    def layers(self) -> list[int]: ...
    @property
    def time(self) -> float: ...
    @property
    def compute(self) -> float: ...
    @property
    def transfer(self) -> float: ...
    @property
    def memory(self) -> float: ...
    @property
    def column(self) -> int: ...
    @property
    def replicas(self) -> int: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def sync(self) -> float: ...
    @property
    def pass_time(self) -> float: ...

@final
class Scorer:
    def __init__(self, problem: Problem, target: float | None) -> None: ...
    def evaluate(
        self,
        schemes: npt.NDArray[np.int8],
        cost: npt.NDArray[np.float64],
        throughput: npt.NDArray[np.float64],
        violation: npt.NDArray[np.float64],
        price: npt.NDArray[np.float64] | None,
        plan_cost: npt.NDArray[np.float64] | None,
        threads: int,
    ) -> None: ...
    def provision(self, scheme: npt.NDArray[np.int8]) -> tuple[list[Stage], Score]: ...
    def score_plan(self, scheme: npt.NDArray[np.int8]) -> tuple[Score, float]: ...

@final
class OrderSplits:
    MOST_CUTS: ClassVar[int]
    def __init__(
        self,
        tensors: Sequence[tuple[int, Sequence[int], float]],
        kinds: Sequence[tuple[int, Sequence[float], bool]],
    ) -> None: ...
    def score(self, order: Sequence[int]) -> tuple[float, float]: ...
    def loads(self, order: Sequence[int]) -> list[npt.NDArray[np.float64]]: ...

@final
class PolicyShape:
    def __init__(self, cell: str, shared: int, own: int, labels: int, hidden: int) -> None: ...
    @property
    def parts(self) -> list[tuple[str, int, int, int]]: ...
    @property
    def weights(self) -> int: ...

class Stopped(Exception): ...  # noqa: N818

@final
class StopAfter:
    def __init__(self, seconds: float) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *args: object) -> None: ...

class Search:
    def step(self) -> None: ...
    def ensure_best(self) -> None: ...
    def state(self) -> bytes: ...
    def restore(self, state: bytes) -> None: ...
    @property
    def work(self) -> int: ...
    @property
    def best(self) -> npt.NDArray[np.int8]: ...
    @property
    def best_score(self) -> Score: ...
    @property
    def bound(self) -> float: ...
    @property
    def evaluations(self) -> int: ...
    @property
    def done(self) -> bool: ...

class RandomSearch(Search):
    def __init__(self, problem: Problem, seed: int, threads: int) -> None: ...

class Enumeration(Search):
    def __init__(self, problem: Problem, threads: int) -> None: ...

class GreedySearch(Search):
    def __init__(self, problem: Problem) -> None: ...

class Annealing(Search):
    def __init__(
        self, problem: Problem, population: int, seed: int, threads: int, initial: npt.NDArray[np.int8]
    ) -> None: ...

class Genetic(Search):
    def __init__(
        self, problem: Problem, population: int, seed: int, threads: int, initial: npt.NDArray[np.int8]
    ) -> None: ...
    def step(self, generations: int = 1) -> None: ...
    def receive(self, scheme: npt.NDArray[np.int8]) -> None: ...

class Exact(Search):
    @staticmethod
    def serves(problem: Problem) -> bool: ...
    def __init__(self, problem: Problem, initial: npt.NDArray[np.int8]) -> None: ...
    def advance(self, work: int) -> None: ...
    @property
    def tried(self) -> npt.NDArray[np.int8]: ...

@final
class OptionSearch(Search):
    def __init__(self, problem: Problem, initial: npt.NDArray[np.int8]) -> None: ...
    def advance(self, work: int) -> None: ...
    @property
    def tried(self) -> npt.NDArray[np.int8]: ...

@final
class FrontPoint:
    @property
    def target(self) -> float: ...
    @property
    def time(self) -> float: ...
    @property
    def value(self) -> float: ...
    @property
    def bound(self) -> float: ...
    @property
    def scheme(self) -> npt.NDArray[np.int8]: ...

class Front(Exact):
    def __init__(
        self,
        problem: Problem,
        targets: Sequence[float],
        gap: float | None,
        fastest: float,
        initial: npt.NDArray[np.int8],
    ) -> None: ...
    @property
    def points(self) -> list[FrontPoint]: ...

class Auto(Search):
    def __init__(
        self, problem: Problem, population: int, seed: int, threads: int, initial: npt.NDArray[np.int8]
    ) -> None: ...

def solve_many(
    problems: list[Problem],
    changes: dict[str, npt.NDArray[np.float64]],
    count: int,
    exact: bool,
    population: int,
    seed: int,
    work: int,
    stagnation: int,
    threads: int,
    outcomes: dict[str, npt.NDArray[np.generic]],
) -> None: ...

@final
class Features:
    MOST: ClassVar[float]
    def __init__(self, problem: Problem) -> None: ...
    @property
    def layers(self) -> npt.NDArray[np.float32]: ...
    def observe(
        self, labels: npt.NDArray[np.int8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]: ...
    def reward(self, cost: float, time: float, violation: float, price: float) -> float: ...
    def decode(self, learned: Learned) -> npt.NDArray[np.int8]: ...

@final
class Learned:
    def __init__(self, rnn: bool, types: int, labels: int, seed: int) -> None: ...
    def load(
        self,
        weights: npt.NDArray[np.float32],
        first: npt.NDArray[np.float32],
        second: npt.NDArray[np.float32],
        steps: int,
        baseline: float,
        generations: int,
    ) -> None: ...
    def reset_for_new_problem(self) -> None: ...
    @property
    def rnn(self) -> bool: ...
    @property
    def weights(self) -> npt.NDArray[np.float32]: ...
    @property
    def first(self) -> npt.NDArray[np.float32]: ...
    @property
    def second(self) -> npt.NDArray[np.float32]: ...
    @property
    def steps(self) -> int: ...
    @property
    def baseline(self) -> float: ...
    @property
    def generations(self) -> int: ...

class Reinforce(Search):
    def __init__(
        self,
        problem: Problem,
        learned: Learned,
        population: int,
        seed: int,
        threads: int,
        initial: npt.NDArray[np.int8],
        alone: bool = False,
    ) -> None: ...
    @property
    def learned(self) -> Learned: ...
    @property
    def elites(self) -> npt.NDArray[np.int8]: ...
