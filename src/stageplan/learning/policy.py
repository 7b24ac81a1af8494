"""A trained placement policy, which can be saved, loaded, and applied to other problems."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .. import _core
from ..arguments import check_choice
from ..digest import digest_of
from ..errors import InputError
from ..fields import printable
from ..output import write_whole
from ..plan import Plan
from ..problem import Problem, check_problem
from ..readers.arrays import read_npz
from ..readers.bounded import about, as_path

Cell = Literal["lstm", "rnn"]
CELLS: tuple[Cell, ...] = ("lstm", "rnn")
_FORMAT = "stageplan policy 1"


@dataclass(frozen=True, eq=False)
class Policy:
    """A trained placement policy: a recurrent network that chooses a device type for each layer in turn.

    Trained by `solve` with method ``"reinforce"``, as ``result.policy``. Its inputs are scaled relative to
    each problem, so that it can be applied to any problem with the same device types: with other layers,
    prices, limits and goals.

    Attributes
    ----------
    cell : str
        ``"lstm"`` or ``"rnn"``.
    type_names : tuple of str
        The device types that it chooses from.
    n_labels : int
        Number of values of a gene, as ``problem.n_labels``.
    weights : ndarray of float32
        All weights of the network.
    first_moment, second_moment : ndarray of float32
        Adam's moving averages of the gradient of each weight, and of its square.
    steps : int
        Number of steps of Adam.
    baseline : float
        Moving average of the rewards on the last training problem, NaN before the first.
    generations : int
        Generations of training; exploration decreases with them. Reset to at most 100 at the start of
        another problem.
    seed : int
        The seed of the last search.
    problem : str
        Digest of the last training problem.
    schemes : ndarray of int8, shape (n, L)
        The best schemes found for it, the best first; a problem with the same number of layers starts from
        them.

    Examples
    --------
    >>> import stageplan as sp
    >>> problem = sp.Problem.from_arrays(
    ...     compute=[[4.0, 1.0], [2.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0], limit=[2, 2],
    ...     min_throughput=0.5, examples=3600,
    ... )
    >>> policy = sp.solve(problem, "reinforce", stop=sp.MaxGenerations(20)).policy
    >>> policy
    Policy(lstm, 20 generations, device types type0, type1)
    >>> policy.plan(problem.replace(max_price=7.5)).feasible
    True
    >>> policy.save("policy.npz")
    >>> again = sp.Policy.load("policy.npz")
    """

    cell: Cell
    type_names: tuple[str, ...]
    n_labels: int
    weights: npt.NDArray[np.float32]
    first_moment: npt.NDArray[np.float32]
    second_moment: npt.NDArray[np.float32]
    steps: int
    baseline: float
    generations: int
    seed: int
    problem: str
    schemes: npt.NDArray[np.int8]

    @classmethod
    def of(cls, problem: Problem, search: _core.Reinforce, seed: int) -> Policy:
        """Return the policy that a search has trained."""
        learned = search.learned
        return cls(
            cell="rnn" if learned.rnn else "lstm",
            type_names=problem.type_names,
            n_labels=problem.n_labels,
            weights=learned.weights,
            first_moment=learned.first,
            second_moment=learned.second,
            steps=learned.steps,
            baseline=learned.baseline,
            generations=learned.generations,
            seed=seed,
            problem=digest_of(problem),
            schemes=search.elites.reshape(-1, problem.n_layers),
        )

    def plan(self, problem: Problem) -> Plan:
        """Plan a problem without search: each layer gets its most probable label.

        Parameters
        ----------
        problem
            A problem with the policy's device types.

        Returns
        -------
        Plan

        Raises
        ------
        TypeError, ValueError
            `problem` is not a `Problem`, or has other device types.
        """
        self.check(problem)
        return Plan.of(problem, _core.Features(problem.core).decode(self.learned()))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the policy to a file, NumPy's .npz, atomically.

        Raises
        ------
        OSError
            The file cannot be written.
        """
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        write_whole(as_path("path", path), lambda stream: np.savez(stream, format=_FORMAT, **values))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Policy:
        """Read a policy from a file.

        Raises
        ------
        OSError
            The file cannot be read.
        ValueError
            It is not a valid policy file.
        """
        file = as_path("path", path)
        with about(file):
            try:
                return _read(read_npz(file, ("format", *(field.name for field in fields(cls)))))
            except ValueError as error:
                raise InputError(f"it is not a valid policy file: {error}") from None

    def check(self, problem: Problem) -> None:
        """Raise ValueError if a problem has other device types or labels."""
        check_problem(problem)
        if problem.type_names != self.type_names:
            raise InputError(
                f"problem has device types {printable(', '.join(problem.type_names))}; "
                f"they must be those of the policy, {printable(', '.join(self.type_names))}"
            )
        if problem.n_labels != self.n_labels:
            raise InputError(
                f"problem has {problem.n_labels} labels; it must have as many as the policy, {self.n_labels} "
                "(split and merge determine the number)"
            )

    def knows(self, problem: Problem) -> bool:
        """Whether this is the last training problem."""
        return self.problem == digest_of(problem)

    def learned(self) -> _core.Learned:
        """Return the policy as an object of the native core."""
        learned = _core.Learned(self.cell == "rnn", len(self.type_names), self.n_labels, self.seed)
        learned.load(
            self.weights,
            self.first_moment,
            self.second_moment,
            self.steps,
            self.baseline,
            self.generations,
        )
        return learned

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Policy):
            return NotImplemented
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    def __repr__(self) -> str:
        types = printable(", ".join(self.type_names))
        return f"Policy({self.cell}, {self.generations} generations, device types {types})"


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    return bool(a == b or (a != a and b != b))  # NaN: no baseline yet


def _read(arrays: dict[str, Any]) -> Policy:
    """Make a policy from the arrays of a file, after checking them."""
    for name in ("format", *(field.name for field in fields(Policy))):
        if name not in arrays:
            raise InputError(f"it has no {name}")
    if _texts(arrays, "format", 0) != (_FORMAT,):
        raise InputError(f"its format is not {_FORMAT!r}")
    policy = Policy(
        cell=_texts(arrays, "cell", 0)[0],  # type: ignore[arg-type]
        type_names=_texts(arrays, "type_names", 1),
        n_labels=_whole(arrays, "n_labels"),
        weights=_array(arrays, "weights", np.float32, 1),
        first_moment=_array(arrays, "first_moment", np.float32, 1),
        second_moment=_array(arrays, "second_moment", np.float32, 1),
        steps=_whole(arrays, "steps"),
        baseline=float(_array(arrays, "baseline", np.float64, 0)),
        generations=_whole(arrays, "generations"),
        seed=_whole(arrays, "seed"),
        problem=_texts(arrays, "problem", 0)[0],
        schemes=_array(arrays, "schemes", np.int8, 2),
    )
    check_choice("cell", policy.cell, CELLS)
    if not 1 <= policy.n_labels <= 128:
        raise InputError(f"n_labels is {policy.n_labels}; it must be from 1 to 128")
    if not ((policy.schemes >= 0) & (policy.schemes < policy.n_labels)).all():
        raise InputError(f"schemes has other labels; they must be from 0 to {policy.n_labels - 1}")
    if np.isinf(policy.baseline):
        raise InputError(f"baseline is {policy.baseline}; it must be finite, or NaN for none")
    if (policy.second_moment < 0).any():
        raise InputError("second_moment has numbers below 0")
    policy.learned()  # checks the number of weights
    return policy


def _texts(arrays: dict[str, Any], name: str, dimensions: int) -> tuple[str, ...]:
    array = arrays[name]
    if array.ndim != dimensions or array.dtype.kind != "U" or not array.dtype.isnative:
        raise InputError(f"{name} is {array.dtype} of shape {array.shape}; it must be text")
    if (np.atleast_1d(array).view(np.uint32) > sys.maxunicode).any():
        raise InputError(f"{name} has characters that do not exist")
    return tuple(str(text) for text in np.atleast_1d(array))


def _array(arrays: dict[str, Any], name: str, dtype: npt.DTypeLike, dimensions: int) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = arrays[name]
    if array.dtype != dtype or array.ndim != dimensions:
        raise InputError(
            f"{name} is {array.dtype} of shape {array.shape}; it must be {np.dtype(dtype)}, {dimensions}-D"
        )
    if array.dtype == np.float32 and not np.isfinite(array).all():
        raise InputError(f"{name} has numbers that are not finite")
    return array


def _whole(arrays: dict[str, Any], name: str) -> int:
    value, maximum = arrays[name], 2**64 - 1 if name == "seed" else 2**62  # the others are incremented
    if value.ndim or value.dtype.kind not in "iu" or not 0 <= int(value) <= maximum:
        raise InputError(f"{name} is {value}; it must be a whole number from 0 to {maximum}")
    return int(value)
