"""One update of a policy, natively and in torch: sampled episodes, backward, clipping, a step of Adam.

``python -m benchmarks.support.policies`` measures them in turns, as CPU time on one core.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.support.measure import compare
from stageplan import _core
from stageplan.learning.policy_torch import PolicyModule

RATE, CLIP = 1e-3, 1.0

# cell, labels, hidden, episodes, steps
SIZES = (("lstm", 4, 64, 16, 50), ("lstm", 8, 32, 32, 64), ("lstm", 64, 64, 16, 64), ("rnn", 4, 64, 16, 50))


class Task(NamedTuple):
    """A network, its weights, its inputs and how good each episode is taken to be."""

    shape: tuple[str, int, int, int, int]  # cell, shared, own, labels, hidden
    weights: Any
    shared: Any  # (steps, shared)
    own: Any  # (steps, episodes, own)
    advantage: Any  # (episodes,)

    @property
    def size(self) -> tuple[int, int]:
        steps, episodes, _ = self.own.shape
        return episodes, steps


def make_task(
    cell: str = "lstm", labels: int = 4, hidden: int = 64, episodes: int = 16, steps: int = 50
) -> Task:
    shape, random = (cell, 8, labels, labels, hidden), np.random.default_rng(0)
    weights = random.uniform(-1, 1, _core.PolicyShape(*shape).weights) / np.sqrt(hidden)
    arrays = (
        weights,
        random.normal(size=(steps, 8)),
        random.random((steps, episodes, labels)),
        random.normal(size=episodes) / episodes,
    )
    return Task(shape, *(array.astype(np.float32) for array in arrays))


class Native:
    """Ours."""

    def __init__(self, task: Task) -> None:
        shape = _core.PolicyShape(*task.shape)
        self.task, self.weights = task, task.weights.copy()
        self.rollout, self.adam = _core.testing.Rollout(shape, *task.size), _core.testing.Adam(shape.weights)
        self.labels = np.eye(task.shape[3], dtype=np.float32)
        self.random = np.random.default_rng(1)

    def update(self) -> Any:
        """Return the choices, (steps, episodes)."""
        task, rollout = self.task, self.rollout
        rollout.begin(self.weights)
        choices, slopes = rollout.sample(task.shared, task.own, self.random.random(task.own.shape[:2]))
        slopes -= self.labels[choices]
        slopes *= task.advantage[:, None]
        self.adam.update(self.weights, rollout.backward(slopes), RATE, CLIP)
        return choices

    def follow(self, choices: Any) -> None:
        """Update by given choices."""
        self.rollout.begin(self.weights)
        previous = np.vstack([np.full((1, choices.shape[1]), -1), choices[:-1]]).astype(np.int32)
        logits = [
            self.rollout.step(*step) for step in zip(self.task.shared, self.task.own, previous, strict=True)
        ]
        slopes = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True) - self.labels[choices]
        gradient = self.rollout.backward((slopes * self.task.advantage[:, None]).astype(np.float32))
        self.adam.update(self.weights, gradient, RATE, CLIP)


class Torch:
    """What both ways of writing it in torch have in common."""

    def __init__(self, task: Task) -> None:
        self.module = PolicyModule(*task.shape)
        self.module.load_weights(task.weights)
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        self.adam = torch.optim.Adam(self.parameters, lr=RATE, fused=True)
        self.advantage, own = torch.from_numpy(task.advantage), torch.from_numpy(task.own)
        self.steps, self.episodes = own.shape[:2]
        self.known = torch.cat([torch.from_numpy(task.shared)[:, None].expand(-1, self.episodes, -1), own], 2)
        self.labels = torch.eye(task.shape[3])

    def learn(self, logits: Any, choices: Any) -> None:
        losses = functional.cross_entropy(logits.flatten(0, 1), choices.flatten(), reduction="none")
        self.adam.zero_grad()
        (losses.view(choices.shape) * self.advantage).sum().backward()
        nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.adam.step()

    @property
    def weights(self) -> Any:
        return self.module.flat_weights()


class TorchLoop(Torch):
    """As it is usually written: a loop over the steps, through which the gradient goes back."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        cell = self.module.cell
        self.cell = (nn.LSTMCell if task.shape[0] == "lstm" else nn.RNNCell)(
            cell.input_size, cell.hidden_size
        )
        for name, parameter in cell.named_parameters():
            setattr(self.cell, name.removesuffix("_l0"), parameter)

    def update(self) -> Any:
        state, previous, logits, choices = None, torch.zeros(self.episodes, len(self.labels)), [], []
        for known in self.known:
            state = self.cell(torch.cat([known, previous], 1), state)
            logits.append(self.module.head(state if isinstance(state, torch.Tensor) else state[0]))
            with torch.no_grad():
                choices.append(torch.multinomial(logits[-1].softmax(1), 1)[:, 0])
                previous = self.labels[choices[-1]]
        self.learn(torch.stack(logits), torch.stack(choices))
        return torch.stack(choices).numpy()


class TorchTwoPasses(Torch):
    """As fast as we can write it: the episodes are drawn without gradients, in as few calls as there can be.

    Then one call of the fused LSTM follows the choices. What is known of the inputs goes through the weights
    in one product before the loop; the largest sum of logits and Gumbel's noise draws a label.
    """

    def update(self) -> Any:
        choices = self.sample().clone()
        previous = functional.pad(self.labels[choices[:-1]], (0, 0, 0, 0, 1, 0))
        output, _ = self.module.cell(torch.cat([self.known, previous], 2))
        self.learn(self.module.head(output), choices)
        return choices.numpy()

    @torch.inference_mode()
    def sample(self) -> Any:
        cell, head = self.module.cell, self.module.head
        size, known = cell.hidden_size, self.known.shape[2]
        order = [*range(2 * size), *range(3 * size, 4 * size), *range(2 * size, 3 * size)]
        by_input = cell.weight_ih_l0.t()[:, order]
        sums = self.known @ by_input[:known] + cell.bias_ih_l0[order]
        by_label, by_output = by_input[known:].contiguous(), cell.weight_hh_l0.t()[:, order].contiguous()
        noise = head.bias - torch.empty(self.steps, self.episodes, len(self.labels)).exponential_().log_()
        to_logits = head.weight.t()
        choices = torch.empty(self.steps, self.episodes, dtype=torch.long)
        state, output, gates = torch.zeros(self.episodes, size), None, sums[0]
        for step in range(self.steps):
            if step > 0:
                gates = torch.addmm(sums[step], output, by_output)
                gates += by_label.index_select(0, choices[step - 1])
            open_, fresh = gates[:, : 3 * size].sigmoid_(), gates[:, 3 * size :].tanh_()
            state = torch.addcmul(open_[:, :size] * fresh, open_[:, size : 2 * size], state)
            output = open_[:, 2 * size :] * state.tanh()
            torch.argmax(torch.addmm(noise[step], output, to_logits), 1, out=choices[step])
        return choices


def main() -> None:
    torch.set_num_threads(1)
    print("cell labels hidden episodes steps  rival           ours ms     ms  ratio")
    for sizes in SIZES:
        task = make_task(*sizes)
        for rival in (TorchLoop, TorchTwoPasses) if task.shape[0] == "lstm" else (TorchLoop,):
            pair = compare(Native(task).update, rival(task).update, rounds=9, least=0.2)
            row = "{:4}{:7}{:7}{:9}{:6}".format(*sizes)
            print(f"{row}  {rival.__name__:15}{1e3 * pair.ours:8.2f}{1e3 * pair.rival:7.2f}{pair.ratio:7.1f}")


if __name__ == "__main__":
    main()
