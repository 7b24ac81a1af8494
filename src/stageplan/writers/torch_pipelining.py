"""torch.distributed.pipelining: where `pipeline` has to split a module, and the modules of its stages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..plan import Plan
from .defaults import Default, even, to_bounds
from .split import Split, Written

if TYPE_CHECKING:
    from torch import nn
    from torch.distributed import ProcessGroup
    from torch.distributed.pipelining import PipelineStage

_TEXT = '''\
"""The stages of a pipeline, for torch.distributed.pipelining."""

from torch.distributed.pipelining import SplitPoint

# pipeline(module, mb_args=..., mb_kwargs=..., split_spec=SPLIT_SPEC)
SPLIT_SPEC = {{
{points}}}

# Layers of each stage, and the device type of the rank that is to run it; stage i is for rank i.
STAGES = [
{stages}]
TYPES = {types}
'''

_TIE = '''

def tie(pipe, index):
    """Return what adds up the gradients of weights that several stages have; every rank must call this.

    Call what it returns between the schedule's step and the optimizer's: without it, those weights drift
    apart, and nothing says so.
    """
    owned = []
    for owners in pipe.replicated_params:
        names = {int(stage.rpartition("_")[2]): name for stage, name in owners.items()}
        group = dist.new_group(sorted(names))
        if index in names:
            owned.append((pipe.get_stage_module(index).get_parameter(names[index]), group))

    def reduce():
        for weight, group in owned:
            if weight.grad is not None:
                dist.all_reduce(weight.grad, group=group)

    return reduce
'''


def write(split: Split) -> Written:
    """Return the paths of the modules that begin the second stage and later ones, and a module with them."""
    split.replicas()
    begins = _begins(split)
    text = _TEXT.format(
        points="".join(f"    {json.dumps(name)}: SplitPoint.BEGINNING,\n" for name in begins),
        types=[stage.type for stage in split.stages],
        stages="".join(f"    {[split.layers[i] for i in stage.layers]},\n" for stage in split.stages),
    )
    tied = ", ".join(" and ".join(split.layers[layer] for layer in tie) for tie in split.parted_ties())
    if not tied:
        return Written(begins, text)
    text = text.replace("from torch", "import torch.distributed as dist\nfrom torch", 1)
    return Written(begins, text + _TIE, f"{tied} share weights: tie() keeps them equal")


def default(split: Split) -> Default:
    """As even as can be by layers: the runtime has no rule of its own."""
    return Default("even by layers", to_bounds(even(len(split.layers), len(split.stages))))


def _begins(split: Split) -> list[str]:
    return [split.layers[bound] for bound in split.bounds()[1:-1]]


class SplitModule:
    """A module in stages. Made by `split_module`.

    Attributes
    ----------
    modules : tuple of torch.nn.Module
        One a stage; what it takes is what the stages before it give.
    shared : tuple of mapping of int to str
        Weights that several stages have: their names by stage.
    """

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self.modules: tuple[nn.Module, ...] = tuple(
            pipe.get_stage_module(index) for index in range(pipe.num_stages)
        )
        self.shared: tuple[Mapping[int, str], ...] = tuple(
            {int(stage.rpartition("_")[2]): name for stage, name in owners.items()}
            for owners in pipe.replicated_params
        )

    def stage(self, index: int, device: Any, group: ProcessGroup | None = None) -> PipelineStage:
        """Make the stage that a rank runs, ready for a schedule of torch.distributed.pipelining.

        Parameters
        ----------
        index
            Which stage.
        device : torch.device
            Where it runs.
        group
            The ranks of the pipeline; default: all.
        """
        stage: PipelineStage = self._pipe.build_stage(index, device, group)
        return stage

    def tie(self, index: int, group: ProcessGroup | None = None) -> Callable[[], None]:
        """Keep the weights equal that several stages have, where rank i runs stage i.

        Every rank of the pipeline must call this, for it makes groups of ranks.

        Parameters
        ----------
        index
            The stage of this rank.
        group
            The ranks of the pipeline; default: all.

        Returns
        -------
        callable
            Adds up the gradients of those weights over their stages. To be called between the schedule's step
            and the optimizer's: without it, such weights drift apart, and nothing says so.
        """
        import torch.distributed as dist

        ranks = dist.get_process_group_ranks(group or dist.group.WORLD)
        owned = []
        for owners in self.shared:
            owners_group = dist.new_group([ranks[stage] for stage in sorted(owners)])
            if index in owners:
                owned.append((self.modules[index].get_parameter(owners[index]), owners_group))

        def reduce() -> None:
            for weight, owners_group in owned:
                if weight.grad is not None:
                    dist.all_reduce(weight.grad, group=owners_group)

        return reduce


def split_module(
    module: nn.Module,
    plan: Plan,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
) -> SplitModule:
    """Split a module into the stages of a plan, exactly where the plan does.

    Parameters
    ----------
    module : torch.nn.Module
        What the plan's layers are the modules of, by their paths.
    plan
        A plan whose stages are runs of neighbours.
    args, kwargs
        A microbatch, to trace the module with (by ``torch.export``); its shapes are those that stages take.

    Returns
    -------
    SplitModule

    Raises
    ------
    ImportError
        torch is not installed.
    ValueError
        The plan's layers are not those of the module, or the stages are no runs of neighbours.
    """
    try:
        from torch.distributed.pipelining import SplitPoint, pipeline
    except ImportError:
        raise ImportError('torch is not installed; pip install "stageplan[torch]" does it') from None
    for name in plan.problem.layer_names:
        try:
            module.get_submodule(name)
        except AttributeError:
            owner = type(module).__name__
            raise ValueError(f"layer {name!r} is no module of {owner}; the plan must be of it") from None
    begins = _begins(Split.of(plan))
    try:
        pipe = pipeline(
            module, tuple(args), dict(kwargs or {}), split_spec=dict.fromkeys(begins, SplitPoint.BEGINNING)
        )
    finally:
        _unwrap(module, begins)
    if pipe.num_stages != len(plan.stages):
        raise ValueError(
            f"{type(module).__name__} came apart into {pipe.num_stages} stages; the plan has "
            f"{len(plan.stages)}, and its layers must run in their order"
        )
    return SplitModule(pipe)


def _unwrap(module: nn.Module, begins: Sequence[str]) -> None:
    """Give modules their own forward back, which `pipeline` wraps to split before it, and leaves wrapped."""
    for name in begins:
        wrapped = vars(module.get_submodule(name))
        for attribute in ("forward", "_orig_forward"):
            wrapped.pop(attribute, None)
