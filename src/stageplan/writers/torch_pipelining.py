"""torch.distributed.pipelining: the split points of a module, and the modules of its stages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..plan import Plan, check_plan
from .defaults import Default, even, to_bounds
from .limits import Limits
from .partition import Partition, Written

if TYPE_CHECKING:
    from torch import nn
    from torch.distributed import ProcessGroup
    from torch.distributed.pipelining import PipelineStage

SCHEDULES = {"gpipe": "ScheduleGPipe", "1f1b": "Schedule1F1B"}
LIMITS = Limits(tensor_parallel=True, schedules=tuple(SCHEDULES))

_TEXT = '''\
"""The stages of a pipeline, for torch.distributed.pipelining."""

from torch.distributed.pipelining import SplitPoint

# pipeline(module, mb_args=..., mb_kwargs=..., split_spec=SPLIT_SPEC)
SPLIT_SPEC = {{
{points}}}

STAGES = [  # layers of each stage
{stages}]

REPLICAS = {replicas}  # of each stage
RANKS = {ranks}  # stage and device type of each
MESH = {{"pp": {count}, "dp": {replicas}, "tp": {degree}}}  # stages, replicas, devices of a replica

# mesh = init_device_mesh(DEVICE, tuple(MESH.values()), mesh_dim_names=tuple(MESH))
# build_stage takes the group of mesh["pp"]{average}.
'''

AVERAGE = '''

def average(module, group):
    """Average the gradients of a stage's module over its replicas.

    Call this between the schedule's step and the optimizer's. A module that was traced cannot be in a
    DistributedDataParallel.
    """
    for weight in module.parameters():
        if weight.grad is not None:
            dist.all_reduce(weight.grad, group=group)
            weight.grad /= REPLICAS
'''

TIE = '''

def tie(pipe, index):
    """Return a function that sums the gradients of weights that several stages have.

    Every rank must call this, and then the function between the schedule's step and the optimizer's.
    Without it, the copies of such a weight become different, without any error.
    """
    owned = []
    for owners in pipe.replicated_params:
        names = {int(stage.rpartition("_")[2]): name for stage, name in owners.items()}
        for replica in range(REPLICAS):
            group = dist.new_group([stage * REPLICAS + replica for stage in sorted(names)])
            if index in names and dist.get_rank() == index * REPLICAS + replica:
                owned.append((pipe.get_stage_module(index).get_parameter(names[index]), group))

    def reduce():
        for weight, group in owned:
            if weight.grad is not None:
                dist.all_reduce(weight.grad, group=group)

    return reduce
'''


def write(partition: Partition) -> Written:
    """Return the paths of the modules that begin the second and later stages, and Python source with them."""
    schedule = partition.goal.schedule
    ranks = partition.ranks()
    begins = _begins(partition)
    shared = partition.degree > 1
    tied = ", ".join(
        " and ".join(partition.layers[layer] for layer in tie) for tie in partition.parted_ties()
    )
    text = _TEXT.format(
        points=begins_text(partition),
        replicas=partition.replicas(),
        count=len(partition.stages),
        degree=partition.degree,
        ranks=[(rank.stage, rank.device_type) for rank in ranks],
        stages=stages_text(partition),
        average=', and average that of mesh["dp"]' if partition.replicas() > 1 else "",
    )
    helpers = (AVERAGE if partition.replicas() > 1 else "") + (TIE if tied and not shared else "")
    if helpers:
        text = text.replace("from torch", "import torch.distributed as dist\nfrom torch", 1)
    notes = []
    if schedule is not None:
        notes.append(f"run it with {SCHEDULES[schedule]} and {partition.goal.microbatches} microbatches")
    if partition.replicas() > 1:
        notes.append("average() keeps the replicas of a stage equal")
    if tied:
        keeps = "keep their copies equal" if shared else "tie() keeps them equal"
        notes.append(f"{tied} share weights: {keeps}")
    if shared:
        notes.append(
            "pipeline() does not trace tensor parallelism: make a module of each stage's layers, call "
            'parallelize_module on it with mesh["tp"], and give it to PipelineStage'
        )
    return Written(begins, text + helpers, ranks, "; ".join(notes))


def default(partition: Partition) -> Default:
    """As evenly as possible by layers, as the runtime has no rule."""
    return Default("even by layers", to_bounds(even(len(partition.layers), len(partition.stages))))


def begins_text(partition: Partition) -> str:
    """Return the entries of the split points, lines of Python source."""
    return "".join(f"    {json.dumps(name)}: SplitPoint.BEGINNING,\n" for name in _begins(partition))


def stages_text(partition: Partition) -> str:
    """Return the names of the layers of each stage, lines of Python source."""
    return "".join(f"    {[partition.layers[i] for i in stage.layers]},\n" for stage in partition.stages)


def _begins(partition: Partition) -> list[str]:
    return [partition.layers[bound] for bound in partition.bounds()[1:-1]]


class SplitModule:
    """A module in stages, made by `split_module`.

    Attributes
    ----------
    modules : tuple of torch.nn.Module
        One for each stage; its inputs are outputs of earlier stages.
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
        """Make the stage of a rank, ready for a schedule of torch.distributed.pipelining.

        Parameters
        ----------
        index
            Number of the stage.
        device : torch.device
            Device that runs it.
        group
            The ranks of the pipeline; default: all.
        """
        stage: PipelineStage = self._pipe.build_stage(index, device, group)
        return stage

    def tie(self, index: int, group: ProcessGroup | None = None) -> Callable[[], None]:
        """Keep weights that several stages have equal, if rank i of the pipeline runs stage i.

        Every rank of the pipeline must call this, as it makes process groups.

        Parameters
        ----------
        index
            The stage of this rank.
        group
            The ranks of the pipeline; default: all.

        Returns
        -------
        callable
            Sums the gradients of those weights over their stages. Call it between the schedule's step and the
            optimizer's; without it, the copies of such a weight become different, without any error.
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
    """Split a module into the stages of a plan.

    Parameters
    ----------
    module : torch.nn.Module
        The plan's layers are paths of its modules.
    plan
        A plan whose stages are runs of adjacent layers.
    args, kwargs
        A microbatch to trace the module with (``torch.export``); stages take inputs of its shapes.

    Returns
    -------
    SplitModule

    Raises
    ------
    ImportError
        torch is not installed.
    TypeError, ValueError
        `plan` is not a Plan, a layer is not a module of `module`, or a stage is not a run of adjacent layers.

    Examples
    --------
    >>> import torch
    >>> import stageplan as sp
    >>> module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> example = torch.ones(1, 4)
    >>> workload = sp.profile(module, example, devices=["a100-80g", "t4"], layers=["0", "2"])
    >>> plan = sp.Plan.of(sp.Problem(workload, sp.make_cluster(["a100-80g", "t4"])), [0, 1])
    >>> split = sp.split_module(module, plan, (example,))
    >>> len(split.modules)
    2
    >>> torch.equal(split.modules[1](split.modules[0](example)), module(example))
    True
    """
    try:
        from torch.distributed.pipelining import SplitPoint, pipeline
    except ImportError:
        raise ImportError('torch is not installed; pip install "stageplan[torch]" installs it') from None
    check_plan(plan)
    for name in plan.problem.layer_names:
        try:
            module.get_submodule(name)
        except AttributeError:
            owner = type(module).__name__
            raise InputError(
                f"layer {name!r} is not a module of {owner}; the plan must be made for it"
            ) from None
    begins = _begins(Partition.of(plan))
    try:
        pipe = pipeline(
            module, tuple(args), dict(kwargs or {}), split_spec=dict.fromkeys(begins, SplitPoint.BEGINNING)
        )
    finally:
        _unwrap(module, begins)
    if pipe.num_stages != len(plan.stages):
        raise InputError(
            f"{type(module).__name__} was split into {pipe.num_stages} stages instead of "
            f"{len(plan.stages)}; the plan must have the layers in the order in which they run"
        )
    return SplitModule(pipe)


def _unwrap(module: nn.Module, begins: Sequence[str]) -> None:
    """Restore the forward of modules, which `pipeline` wraps and leaves wrapped."""
    for name in begins:
        wrapped = vars(module.get_submodule(name))
        for attribute in ("forward", "_orig_forward"):
            wrapped.pop(attribute, None)
