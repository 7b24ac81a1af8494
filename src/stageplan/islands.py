"""Genetic searches that evolve apart, on one machine or many, and exchange their best schemes.

An epoch of an island depends on nothing but its state and the scheme that it receives, so that the result is
the same whatever runs the epochs.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from . import _core
from .engines import Engine, Failure, run_tasks
from .errors import ExecutorError, InputError
from .fields import first_line
from .problem import Problem

Schemes = npt.NDArray[np.int8]

_TRIES = 3  # of an epoch whose worker does not survive it
_EPOCH_GENES = 2**22  # of an epoch, in about a second and at most: an island with more has fewer generations
_MOST_GENERATIONS = 256


class _Settings(NamedTuple):
    """What all epochs of a search share; no other search has its key."""

    key: bytes
    problem: Problem
    population: int
    generations: int
    schemes: Schemes


class _Epoch(NamedTuple):
    """An epoch to come: of which island, from which state (None: the first), and the scheme received."""

    island: int
    seed: int
    state: bytes | None
    received: Schemes | None


class _State(msgspec.Struct, frozen=True, array_like=True):
    """An island after an epoch."""

    island: int
    state: bytes
    best: bytes
    evaluations: int
    work: int


class Islands:
    """A search, step by step: each step is an epoch of every island, and an exchange in a ring.

    Parameters
    ----------
    problem : Problem
    islands : int
        Number of islands.
    population : int
        Schemes of each island.
    seed : int
        Of the first island; those of the others come of it.
    threads : int
        Threads, without an engine.
    schemes : ndarray of int8, shape (n, L)
        Initial schemes of all islands.
    engine : Executor or callable, optional
        Runs the epochs.
    """

    done = False

    def __init__(
        self,
        problem: Problem,
        islands: int,
        population: int,
        seed: int,
        threads: int,
        schemes: Schemes,
        engine: Engine = None,
    ) -> None:
        size = max(population, len(schemes)) * problem.n_layers
        self.bound = 0.0 if problem.plan_cost is None else -math.inf
        generations = max(1, min(_MOST_GENERATIONS, _EPOCH_GENES // size))
        self._settings = _Settings(os.urandom(16), problem, population, generations, schemes)
        seeds = np.random.SeedSequence(seed).generate_state(islands, np.uint64)
        self._seeds = [seed, *map(int, seeds[1:])]
        self._threads, self._engine = threads, engine
        self._states: list[_State] = []
        self._start = _core.RandomSearch(problem.core, 0, 1)
        self._scheme: Schemes | None = None
        self._score: _core.Score | None = None
        self._best_rank = math.inf, math.inf

    @property
    def evaluations(self) -> int:
        """Schemes scored by all islands."""
        return sum(state.evaluations for state in self._states)

    @property
    def work(self) -> int:
        """Genes of the schemes scored by all islands."""
        return sum(state.work for state in self._states)

    @property
    def best(self) -> Schemes:
        """The best scheme."""
        return self._start.best if self._scheme is None else self._scheme.copy()

    @property
    def best_score(self) -> _core.Score:
        """Score of the best scheme, exactly provisioned."""
        return self._start.best_score if self._score is None else self._score

    def ensure_best(self) -> None:
        """Use the best plan on one type if no epoch is complete."""
        if self._scheme is None:
            self._start.ensure_best()

    def step(self) -> None:
        """Run an epoch of every island.

        Raises
        ------
        ExecutorError
            The engine broke down, or lost an epoch three times; the islands are as before the step.
        """
        epochs = self._next_epochs()
        ended: dict[int, _State] = {}
        for _ in range(_TRIES):
            reason = self._run([epoch for epoch in epochs if epoch.island not in ended], ended)
            if not reason:
                break
        else:
            raise ExecutorError(f"the executor lost an epoch of an island {_TRIES} times: {reason}")
        self._states = [ended[epoch.island] for epoch in epochs]
        for state in self._states:
            self._keep(np.frombuffer(state.best, np.int8))

    def state(self) -> bytes:
        """State between two steps."""
        return msgspec.msgpack.encode(self._states)

    def restore(self, state: bytes) -> None:
        """Continue from a state.

        Raises
        ------
        ValueError
            It is not the state of such a search.
        """
        try:
            states = msgspec.msgpack.decode(state, type=list[_State])
        except msgspec.DecodeError as error:
            raise InputError("the state of the search is damaged, or of another one") from error
        if len(states) not in (0, len(self._seeds)):
            raise InputError("the state of the search is damaged, or of another one")
        self._states, self._scheme, self._score = states, None, None
        for each in states:
            self._keep(np.frombuffer(each.best, np.int8))

    def _run(self, epochs: Sequence[_Epoch], ended: dict[int, _State]) -> str:
        """Run epochs, and note the states behind them; return why one was lost, or nothing."""
        task = _Task(self._settings)
        reason = ""
        try:
            if self._engine is None and self._threads > 1:
                with ThreadPoolExecutor(self._threads) as executor:
                    outcomes = list(run_tasks(executor, task, epochs))
            else:
                outcomes = list(run_tasks(self._engine, task, epochs))
        except BrokenExecutor as error:
            raise ExecutorError(f"the executor broke down: {first_line(error)}") from error
        for outcome in outcomes:
            if isinstance(outcome, _core.PlanCostError):
                raise outcome
            if isinstance(outcome, Failure):
                reason = outcome.reason
            else:
                ended[outcome.island] = outcome
        return reason

    def _keep(self, scheme: Schemes) -> None:
        problem = self._settings.problem
        score, plan_cost = problem.scorer(None).score_plan(scheme)
        rank = _rank(problem, score, plan_cost)
        if self._score is None or rank < self._best_rank:
            self._scheme, self._score, self._best_rank = scheme, score, rank

    def _next_epochs(self) -> list[_Epoch]:
        if not self._states:
            return [_Epoch(island, seed, None, None) for island, seed in enumerate(self._seeds)]
        bests = [np.frombuffer(state.best, np.int8) for state in self._states]
        received = [bests[-1], *bests[:-1]] if len(bests) > 1 else [None]
        return [
            _Epoch(state.island, self._seeds[state.island], state.state, scheme)
            for state, scheme in zip(self._states, received, strict=True)
        ]


class _Task:
    """Runs epochs, in any process."""

    def __init__(self, settings: _Settings) -> None:
        self._settings = settings

    def __call__(self, epoch: _Epoch) -> _State | _core.PlanCostError:
        try:
            return self._run(epoch)
        except _core.PlanCostError as error:  # which would come again: the epoch is not lost
            return error

    def _run(self, epoch: _Epoch) -> _State:
        search = _search(self._settings, epoch.seed if epoch.state is None else None)
        if epoch.state is not None:
            search.restore(epoch.state)
        if epoch.received is not None:
            search.receive(epoch.received)
        search.step(self._settings.generations)
        return _State(epoch.island, search.state(), search.best.tobytes(), search.evaluations, search.work)


_of_thread = threading.local()  # its last search, from which epochs with a state begin sooner


def _search(settings: _Settings, seed: int | None) -> _core.Genetic:
    """Make a search; without a seed, any of the same settings, for a state to be restored."""
    if seed is not None or getattr(_of_thread, "key", b"") != settings.key:
        _of_thread.search = _core.Genetic(
            settings.problem.core, settings.population, seed or 0, 1, settings.schemes
        )
        _of_thread.key = settings.key
    search: _core.Genetic = _of_thread.search
    return search


AnySearch = _core.Search | Islands


def _rank(problem: Problem, score: _core.Score, plan_cost: float) -> tuple[float, float]:
    """Order of schemes: the least violation, then the best objective."""
    if problem.plan_cost is not None:
        return score.violation, plan_cost
    value = {"cost": score.cost, "throughput": score.time, "price": score.price}
    return score.violation, value[problem.goal.objective]
