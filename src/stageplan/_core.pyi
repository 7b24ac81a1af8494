"""Native core of stageplan."""

from collections.abc import Sequence
from typing import ClassVar, final

import numpy as np
import numpy.typing as npt

TOLERANCE: float
MAX_DEVICES: int

def instruction_set() -> str: ...
def instruction_sets() -> list[str]: ...
def breed(
    parents: npt.NDArray[np.int8],
    fitness: npt.NDArray[np.float64],
    labels: int,
    generation: int,
    first: int,
    count: int,
) -> npt.NDArray[np.int8]: ...

@final
class Problem:
    def __init__(
        self,
        *,
        layers: int,
        types: int,
        compute: npt.NDArray[np.float64],
        send: npt.NDArray[np.float64],
        receive: npt.NDArray[np.float64],
        compute_parallel: npt.NDArray[np.float64],
        transfer_parallel: npt.NDArray[np.float64],
        memory: npt.NDArray[np.float64],
        price: npt.NDArray[np.float64],
        limit: npt.NDArray[np.float64],
        capacity: npt.NDArray[np.float64],
        bandwidth: npt.NDArray[np.float64],
        kinds: Sequence[int],
        tensors: Sequence[tuple[int, Sequence[int], float]],
        fixed_price: float,
        examples: float,
        min_throughput: float,
        max_duration: float,
        max_cost: float,
        max_price: float,
        fastest: bool,
        by_type: bool,
        overlap: bool,
        split: bool,
        max_devices_per_stage: int,
    ) -> None: ...
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

@final
class Scorer:
    def __init__(self, problem: Problem, target: float | None) -> None: ...
    def evaluate(
        self,
        schemes: npt.NDArray[np.int8],
        cost: npt.NDArray[np.float64],
        throughput: npt.NDArray[np.float64],
        violation: npt.NDArray[np.float64],
        threads: int,
    ) -> None: ...
    def provision(self, scheme: npt.NDArray[np.int8]) -> tuple[list[Stage], Score]: ...
    def cheapest_at(self, time: float, width: int = 16384) -> tuple[float, float, npt.NDArray[np.int8]]: ...

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
class Placement:
    def __init__(self, problem: Problem, scheme: npt.NDArray[np.int8]) -> None: ...
    def move(self, layer: int, label: int) -> None: ...
    def keep(self) -> None: ...
    def undo(self) -> None: ...
    def load_of(self, label: int) -> tuple[float, float, float, float, float, int]: ...
    @property
    def scheme(self) -> npt.NDArray[np.int8]: ...

@final
class Energy:
    def __init__(self, problem: Problem) -> None: ...
    def of(self, placement: Placement) -> Score: ...
    def of_touched(self, placement: Placement) -> Score: ...
    def undo(self) -> None: ...

def placement_bound(problem: Problem) -> tuple[float, float]: ...
def relabel_contiguous(
    contiguous: Problem, scheme: npt.NDArray[np.int8], by_type: Problem
) -> npt.NDArray[np.int8]: ...

class Search:
    def step(self) -> None: ...
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

class Exact(Search):
    def __init__(self, problem: Problem, initial: npt.NDArray[np.int8]) -> None: ...
    def advance(self, work: int) -> None: ...
    @property
    def work(self) -> int: ...
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
        by_price: bool,
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

@final
class Features:
    MOST: ClassVar[float]
    def __init__(self, problem: Problem) -> None: ...
    @property
    def layers(self) -> npt.NDArray[np.float32]: ...
    def look(
        self, labels: npt.NDArray[np.int8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]: ...
    def reward(self, cost: float, time: float, violation: float) -> float: ...
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
