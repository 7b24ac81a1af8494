"""Placement as a Gymnasium environment, for learners of one's own: ``pip install "stageplan[gym]"``.

Importing this module registers ``"stageplan/Placement-v0"``, so that
``gymnasium.make("stageplan.learning.gym_env:stageplan/Placement-v0", problem=problem)`` works as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
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
    """A device type is chosen for one layer after the other; an episode makes a scheme.

    An action is the label of a layer, from 0 to ``n_labels - 1``. An observation is what the policy of method
    ``"reinforce"`` sees, all of it about 1 in size whatever the problem's units: the numbers of the layer
    (its position and kind; its time, transfer, memory, price and limit on each type), those of the episode
    (how much of each type is left, what the stage so far is like), and the choice for the layer before (a one
    for its label). After the last layer the first two parts are 0.

    The reward is 0 up to the last layer; then it is minus the logarithm of the objective, as a fraction of
    that of the best plan of one type, or, where the plan breaks limits, less than any plan within the limits
    earns, and the less the more it breaks them. So it is what method ``"reinforce"`` learns from.

    ``info["action_mask"]``, an int8 array of shape (n_labels,) as ``action_space.sample`` takes it, is 0 for
    labels that are certain to break a limit, unless all are, and for those that mean the same as another
    one; they may be chosen nevertheless. After the last layer, where nothing is left to choose, it is all 1,
    and `info` holds the ``scheme`` and, as `Plan.of` provisions it, its ``cost`` ($), ``throughput``
    (examples/s) and ``violation`` (0 where it is feasible).

    Nothing is random: seeds make no difference but to the action space.

    Parameters
    ----------
    problem
        The problem, of any kind.

    Raises
    ------
    TypeError
        Where it is no `Problem`.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, problem: Problem) -> None:
        check_problem(problem)
        self.problem = problem
        self._features = _core.Features(problem.core)
        self._layers = self._features.layers
        self._scheme = np.zeros(problem.n_layers, np.int8)
        self._layer = 0  # the next to choose for
        self._mask = np.ones(problem.n_labels, np.int8)
        self.action_space = spaces.Discrete(problem.n_labels)
        shape, most = self._observe()[0].shape, _core.Features.MOST
        self.observation_space = spaces.Box(-most, most, shape, np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Begin an episode, at the first layer; there are no options.

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
            Terminated with the last layer, never truncated.

        Raises
        ------
        ValueError
            Where `action` is no label.
        gymnasium.error.ResetNeeded
            Where no layer is left.
        """
        if self._layer == self.problem.n_layers:
            raise gymnasium.error.ResetNeeded("no layer is left to choose for; call reset first")
        if not self.action_space.contains(action):
            raise ValueError(
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
            "violation": plan.violation,
        }
        return observation, self._features.reward(plan.cost, plan.time, plan.violation), True, False, info

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Which labels may be chosen, as learners that mask actions ask for it."""
        return self._mask.astype(np.bool_)

    def _observe(self) -> tuple[Observation, Info]:
        labels = self._scheme[: self._layer]
        before = np.zeros(self.problem.n_labels, np.float32)
        before[labels[-1:]] = 1
        if self._layer < self.problem.n_layers:
            own, prior = self._features.observe(labels)
            shared = self._layers[self._layer]
            self._mask = (prior > -np.inf).astype(np.int8)
        else:
            own, shared = np.zeros_like(self._features.observe(labels[:0])[0]), np.zeros_like(self._layers[0])
            self._mask = np.ones_like(self._mask)
        return np.concatenate((shared, own, before)), {"action_mask": self._mask.copy()}


gymnasium.register("stageplan/Placement-v0", entry_point="stageplan.learning.gym_env:PlacementEnv")
