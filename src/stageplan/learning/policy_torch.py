"""The network of a policy as a torch module, with weights that go both ways.

Wants torch: ``pip install "stageplan[torch]"``. Nothing else imports this file.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from .._core import PolicyShape
from ..arguments import as_floats, check_choice, check_number
from .policy import CELLS

try:
    import torch
    from torch import nn
except ImportError as error:
    raise ImportError(
        'torch is needed for a policy as a module; pip install "stageplan[torch]" installs it'
    ) from error

_MOST = 2**16  # of each size, far beyond what can be learned


class PolicyModule(nn.Module):
    """The network that ``solve(method="reinforce")`` trains, made of torch's own modules.

    Parameters
    ----------
    cell
        "lstm" or "rnn" (of tanh).
    shared, own
        How many numbers of a step's input all episodes share, and how many each has of its own.
    labels
        How many labels there are to choose from.
    hidden
        Width of the recurrent state.

    Attributes
    ----------
    cell : torch.nn.LSTM or torch.nn.RNN
        One layer over (shared, own, one-hot previous choice). Its second bias is zero and stays so, for
        gradients and optimizers to be those of the network that has one.
    head : torch.nn.Linear
        From the state to the logits of the labels.

    Raises
    ------
    TypeError, ValueError
        Where an argument is wrong; it is named.
    """

    def __init__(self, cell: str, shared: int, own: int, labels: int, hidden: int) -> None:
        check_choice("cell", cell, CELLS)
        for name, value, least in (
            ("shared", shared, 0),
            ("own", own, 0),
            ("labels", labels, 1),
            ("hidden", hidden, 1),
        ):
            check_number(name, value, least=least, most=_MOST, whole=True)
        super().__init__()
        self.shape = PolicyShape(cell, shared, own, labels, hidden)
        self.labels = labels
        self.cell = (nn.LSTM if cell == "lstm" else nn.RNN)(shared + own + labels, hidden)
        self.head = nn.Linear(hidden, labels)
        nn.init.zeros_(self.cell.get_parameter("bias_hh_l0")).requires_grad_(False)

    def forward(self, shared: Any, own: Any, previous: Any, state: Any = None) -> tuple[Any, Any]:
        """Compute the logits of some steps, all at once where their choices are known.

        Parameters
        ----------
        shared : Tensor, shape (steps, shared)
            Numbers of each step that all episodes share.
        own : Tensor, shape (steps, episodes, own)
            Numbers of each episode.
        previous : Tensor of int64, shape (steps, episodes)
            The label chosen at the step before, -1 where there is none.
        state
            What an earlier call returned, to go on from there; None begins.

        Returns
        -------
        logits : Tensor, shape (steps, episodes, labels)
        state
            That of the cell behind the last step.
        """
        chosen = nn.functional.one_hot(previous + 1, self.labels + 1)[..., 1:].to(own.dtype)
        same = shared[:, None].expand(-1, own.shape[1], -1)
        output, state = self.cell(torch.cat([same, own, chosen], dim=2), state)
        return self.head(output), state

    def load_weights(self, weights: npt.NDArray[np.floating]) -> None:
        """Take over weights in the order of the native network.

        Parameters
        ----------
        weights : ndarray, shape (n,)
            ``input_shared``, ``input_own``, ``input_previous``, ``recurrent``, ``bias``, ``head`` and
            ``head_bias``, each row-major with a row an input; gates stand in torch's order.

        Raises
        ------
        TypeError, ValueError
            They are not numbers, more or fewer than the network has, or not finite.
        """
        flat = as_floats("weights", weights)
        if flat.shape != (self.shape.weights,):
            raise ValueError(f"weights has shape {flat.shape}; it must be ({self.shape.weights},)")
        if not np.isfinite(flat).all():
            raise ValueError(f"weights[{np.flatnonzero(~np.isfinite(flat))[0]}] is not finite; all must be")
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
    """Concatenate: torch has a row an output, the native network a row an input."""
    flat: npt.NDArray[np.floating] = torch.cat([t.detach().t().reshape(-1) for t in tensors]).cpu().numpy()
    return flat
