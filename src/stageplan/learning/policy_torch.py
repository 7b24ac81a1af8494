"""The network of a policy as a torch module; weights can be loaded and returned.

Requires torch: ``pip install "stageplan[torch]"``. Nothing else imports this file.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from .._core import PolicyShape
from ..arguments import as_floats, check_choice, check_number
from ..errors import InputError
from .policy import CELLS

try:
    import torch
    from torch import nn
except ImportError as error:
    raise ImportError(
        'torch is required for a policy as a module; pip install "stageplan[torch]" installs it'
    ) from error

_MAX_SIZE = 2**16  # far beyond what can be trained


class PolicyModule(nn.Module):
    """The network that ``solve(method="reinforce")`` trains, made of torch modules.

    Parameters
    ----------
    cell
        "lstm" or "rnn" (of tanh).
    shared, own
        Number of inputs of a step that are the same in all episodes, and number of those that differ.
    labels
        Number of labels to choose from.
    hidden
        Width of the recurrent state.

    Attributes
    ----------
    cell : torch.nn.LSTM or torch.nn.RNN
        One layer over (shared, own, one-hot previous choice). Its second bias is zero and not trained, so
        that gradients and optimizer steps equal those of the native network, which has one bias.
    head : torch.nn.Linear
        Maps the state to the logits of the labels.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, the value and what is allowed.
    """

    def __init__(self, cell: str, shared: int, own: int, labels: int, hidden: int) -> None:
        check_choice("cell", cell, CELLS)
        for name, value, minimum in (
            ("shared", shared, 0),
            ("own", own, 0),
            ("labels", labels, 1),
            ("hidden", hidden, 1),
        ):
            check_number(name, value, minimum=minimum, maximum=_MAX_SIZE, whole=True)
        shared, own, labels, hidden = map(int, (shared, own, labels, hidden))  # torch takes no others
        super().__init__()
        self.shape = PolicyShape(cell, shared, own, labels, hidden)
        self.labels = labels
        self.cell = (nn.LSTM if cell == "lstm" else nn.RNN)(shared + own + labels, hidden)
        self.head = nn.Linear(hidden, labels)
        nn.init.zeros_(self.cell.get_parameter("bias_hh_l0")).requires_grad_(False)

    def forward(self, shared: Any, own: Any, previous: Any, state: Any = None) -> tuple[Any, Any]:
        """Compute the logits of one or more steps whose previous choices are known.

        Parameters
        ----------
        shared : Tensor, shape (steps, shared)
            Inputs of each step that are the same in all episodes.
        own : Tensor, shape (steps, episodes, own)
            Inputs of each episode.
        previous : Tensor of int64, shape (steps, episodes)
            The label chosen at the previous step, -1 if there is none.
        state
            State returned by an earlier call, to continue; None for the first step.

        Returns
        -------
        logits : Tensor, shape (steps, episodes, labels)
        state
            State of the cell after the last step.
        """
        chosen = nn.functional.one_hot(previous + 1, self.labels + 1)[..., 1:].to(own.dtype)
        same = shared[:, None].expand(-1, own.shape[1], -1)
        output, state = self.cell(torch.cat([same, own, chosen], dim=2), state)
        return self.head(output), state

    def load_weights(self, weights: npt.NDArray[np.floating]) -> None:
        """Load weights in the order of the native network.

        Parameters
        ----------
        weights : ndarray, shape (n,)
            ``input_shared``, ``input_own``, ``input_previous``, ``recurrent``, ``bias``, ``head`` and
            ``head_bias``, each row-major with a row per input; gates are in torch's order.

        Raises
        ------
        TypeError, ValueError
            They are not numbers, not as many as the network has, or not finite.
        """
        flat = as_floats("weights", weights)
        if flat.shape != (self.shape.weights,):
            raise InputError(f"weights has shape {flat.shape}; it must be ({self.shape.weights},)")
        if not np.isfinite(flat).all():
            raise InputError(f"weights[{np.flatnonzero(~np.isfinite(flat))[0]}] is not finite; all must be")
        begin = 0
        with torch.no_grad():
            for parameter in self._parameters_in_order():
                part = torch.as_tensor(flat[begin : begin + parameter.numel()].copy())
                parameter.t().copy_(part.view(parameter.t().shape))
                begin += parameter.numel()

    def flat_weights(self) -> npt.NDArray[np.floating]:
        """Return the weights in the order that `load_weights` takes: ndarray, shape (n,)."""
        return _flat(self._parameters_in_order())

    def flat_gradient(self) -> npt.NDArray[np.floating]:
        """Return the gradients of the weights in the same order, zeros before any: ndarray, shape (n,)."""
        parameters = self._parameters_in_order()
        return _flat([torch.zeros_like(p) if p.grad is None else p.grad for p in parameters])

    def _parameters_in_order(self) -> list[Any]:
        cell, head = self.cell, self.head
        return [cell.weight_ih_l0, cell.weight_hh_l0, cell.bias_ih_l0, head.weight, head.bias]


def _flat(tensors: list[Any]) -> npt.NDArray[np.floating]:
    """Concatenate: torch has a row per output, the native network a row per input."""
    flat: npt.NDArray[np.floating] = torch.cat([t.detach().t().reshape(-1) for t in tensors]).cpu().numpy()
    return flat
