"""Placement as a Gymnasium environment, for your own agents: ``pip install "stageplan[gym]"``.

Importing this module registers ``"stageplan/Placement-v0"``, so that
``gymnasium.make("stageplan.learning.gym_env:stageplan/Placement-v0", problem=problem)`` works as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from ..errors import InputError
from ..fields import show
from ..plan import Plan
from ..problem import Problem, check_problem

try:
    import gymnasium
    from gymnasium import spaces
except ImportError:
    raise ImportError('stageplan.learning.gym_env needs gymnasium: pip install "stageplan[gym]"') from None

__all__ = ["PlacementEnv"]

Observation = npt.NDArray[np.float32]
Info = dict[str, Any]


class PlacementEnv(gymnasium.Env[Observation, np.int64]):
    """An environment in which an episode chooses a device type for each layer in turn: a scheme.

    An action is the label of a layer, from 0 to ``n_labels - 1``. An observation is the input of the policy
    of method ``"reinforce"``, with values of the order of 1 in any problem: features of the layer (position
    and kind; time, transfer, memory, price and limit on each type), features of the episode (what is left of
    each type, the load of the current stage), and the previous choice (one-hot). After the last layer the
    first two parts are 0.

    The reward is 0 before the last layer. After it, the reward is the negative logarithm of the objective
    relative to that of the best plan on one device type; a plan that breaks limits gets less than any
    feasible plan, and the less, the larger its violation. With a `plan_cost` it falls with this cost alone.
    Method ``"reinforce"`` uses the same reward.

    ``info["action_mask"]``, an int8 array of shape (n_labels,) for ``action_space.sample``, is 0 for labels
    that certainly break a limit, unless all do, and for those equivalent to another one; they can be chosen
    nevertheless. After the last layer it is all 1, and `info` has the ``scheme`` and, provisioned by
    `Plan.of`, its ``cost`` ($), ``throughput`` (examples/s), ``price`` ($/hour) and ``violation`` (0 if it is
    feasible).

    The environment is deterministic: seeds only affect the action space.

    Parameters
    ----------
    problem
        The problem.

    Raises
    ------
    TypeError
        It is not a `Problem`.

    Notes
    -----
    An observation has ``16 + 9 * T + n_labels`` numbers for T device types, each clipped to -4 to 4. `log` is
    the natural logarithm, that of a ratio 0 where either number is 0. u is the time of the slowest stage of
    the best plan on one device type, or what the goal allows if that is less, in seconds; v is what a layer
    costs per hour at u on its cheapest type, on average. Layer l of L is the next one to be placed. With
    strategies, times are those of the fastest one of each type.

    ==================  =================================================================================
    Entry               Meaning
    ==================  =================================================================================
    0                   position of the layer: from -1 (the first) to 1 (the last)
    1                   layers left: ``log(L - l) / 4``
    2                   log of its compute time on its fastest type, relative to the mean over all layers
    3                   log of its memory, relative to the mean over all layers
    4 to 11             its kind: bits of a hash, each -1 or 1; 0 without a kind
    12 + 8 * t + 0 ...  of device type t; all 0 if it cannot run the layer:
    ... 0               1
    ... 1               log of the layer's compute time, relative to its fastest type
    ... 2               log of its compute time times the price, relative to its cheapest type
    ... 3               log(1 + transfer / u), of what it takes in and passes on, on one device
    ... 4               its memory as a fraction of the capacity
    ... 5               log of the price, relative to the mean over all types
    ... 6               log(1 + devices that all layers would take at u, as a fraction of the limit)
    ... 7               log(1 + price of a stage of this layer alone at u, relative to v)
    12 + 8 * T + t      devices of type t that closed stages left, as a fraction of the limit; 1 without one
    12 + 9 * T + 0 ...  of the current stage; all 0 before the first layer:
    ... 0               price of the devices that it needs in addition with this layer, relative to v
    ... 1               1 - its time without this layer / u
    ... 2               ``log(1 + its layers) / 2``
    ... 3               ``log(1 + its devices) / 2``
    16 + 9 * T + k      1 if label k is that of the layer before, else 0
    ==================  =================================================================================
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, problem: Problem) -> None:
        check_problem(problem)
        self.problem = problem
        self._features = _core.Features(problem.core)
        self._layers = self._features.layers
        self._scheme = np.zeros(problem.n_layers, np.int8)
        self._layer = 0  # the next to be placed
        self._mask = np.ones(problem.n_labels, np.int8)
        self.action_space = spaces.Discrete(problem.n_labels)
        shape, bound = self._observe()[0].shape, _core.Features.MOST
        self.observation_space = spaces.Box(-bound, bound, shape, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Start an episode at the first layer; there are no options.

        Returns
        -------
        tuple of (observation, info)
        """
        super().reset(seed=seed)
        self._layer = 0
        return self._observe()

    def step(self, action: np.int64 | int) -> tuple[Observation, float, bool, bool, Info]:
        """Choose the label of the next layer.

        Returns
        -------
        tuple of (observation, reward, terminated, truncated, info)
            Terminated after the last layer, never truncated.

        Raises
        ------
        ValueError
            `action` is not a label.
        gymnasium.error.ResetNeeded
            No layer is left.
        """
        if self._layer == self.problem.n_layers:
            raise gymnasium.error.ResetNeeded("no layer is left to place; call reset first")
        if not self.action_space.contains(action):
            raise InputError(
                f"action is {show(action)}; it must be a label from 0 to {self.problem.n_labels - 1}"
            )
        self._scheme[self._layer] = action
        self._layer += 1
        observation, info = self._observe()
        if self._layer < self.problem.n_layers:
            return observation, 0.0, False, False, info
        plan = Plan.of(self.problem, self._scheme)
        info |= {
            "scheme": self._scheme.copy(),
            "cost": plan.cost,
            "throughput": plan.throughput,
            "price": plan.price,
            "violation": plan.violation,
        }
        return observation, self._reward(plan), True, False, info

    def _reward(self, plan: Plan) -> float:
        values = {"cost": plan.cost, "throughput": plan.time, "price": plan.price}
        if plan.plan_cost is not None and plan.feasible:
            values[self.problem.goal.objective] = plan.plan_cost
        return self._features.reward(values["cost"], values["throughput"], plan.violation, values["price"])

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Return the mask of actions as an array of bool, for agents that call this method."""
        return self._mask.astype(np.bool_)

    def _observe(self) -> tuple[Observation, Info]:
        labels = self._scheme[: self._layer]
        before = np.zeros(self.problem.n_labels, np.float32)
        before[labels[-1:]] = 1
        if self._layer < self.problem.n_layers:
            episode, prior = self._features.observe(labels)
            layer = self._layers[self._layer]
            self._mask = (prior > -np.inf).astype(np.int8)
        else:
            episode = np.zeros_like(self._features.observe(labels[:0])[0])
            layer = np.zeros_like(self._layers[0])
            self._mask = np.ones_like(self._mask)
        return np.concatenate((layer, episode, before)), {"action_mask": self._mask.copy()}


gymnasium.register("stageplan/Placement-v0", entry_point="stageplan.learning.gym_env:PlacementEnv")
