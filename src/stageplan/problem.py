"""The problem as arrays: a workload on a cluster, with a goal."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from . import _core, listed_options, strategies
from .arguments import as_floats, check_number
from .array_fields import ARRAYS, Tensors, fields_of_arrays, frozen, replaced_field
from .cluster import Cluster
from .errors import InputError, InputTypeError
from .fields import printable, show
from .goal import Goal, Objective
from .lowering import lower
from .plan_cost import PlanCost, check_plan_cost
from .workload import MAX_LAYERS, Conditions, Workload

if TYPE_CHECKING:
    from .stage_cost import StageCost

Array = npt.NDArray[np.float64]

_REST = (
    "tensors", "ties", "fixed_price", "layer_names", "layer_kinds", "layer_modules", "parameters",
    "type_names", "name", "conditions", "column_strategy", "options",
)  # fmt: skip


_OPTIONAL = (
    "column_type", "column_degree", *strategies.BY_COLUMN, *strategies.BY_TYPE, "backward", "prefill",
)  # fmt: skip


class Problem:
    """A workload on a cluster with a goal, as immutable arrays. All times are seconds per example.

    Parameters
    ----------
    workload
        The network.
    cluster
        The device types.
    goal
        The objective and limits of plans. Where the workload decodes, `max_stages` is at most its number of
        groups of sequences, ``concurrency / batch``.
    plan_cost
        Made by `stageplan.plan_cost`: what plans are compared by, instead of the goal's objective.

    Attributes
    ----------
    compute, send, receive, compute_parallel : ndarray of float64, shape (L, T)
        Seconds to run a layer, to send its output, to receive its input; parallel fraction (Amdahl) of
        compute. ``compute`` is inf if the type cannot run the layer.
    transfer_parallel, price, limit, capacity, bandwidth : ndarray of float64, shape (T,)
        Parallel fraction of transfer; $/device-hour; devices, bytes, bytes/s (inf: no limit).
    memory : ndarray of float64, shape (L,)
        Resident bytes. If the goal has no batch, they include the activations of one batch of the workload.
        With merge ``"type"`` they include the workspace.
    column_type, column_degree : ndarray of int32, shape (C,), or None
        Device type and devices per replica of each column, if types have strategies. `compute`, `send`,
        `receive` and `compute_parallel` then have shape (L, C), and `memory` may have it.
    column_strategy : tuple of str, or None
        Name of the strategy of each column.
    sharded, activations, workspace, gradients : ndarray of float64, shape (L, C), or None
        Bytes per device: divided among the replicas; resident for each example in flight; used only while
        the layer runs the workload's batch, or in proportion as many examples as a replica runs at a time if
        the goal has a batch; all-reduced by the replicas once per iteration, if the goal has a batch.
    update : ndarray of float64, shape (L, C), or None
        Seconds of the optimiser per iteration.
    link, network, machine : ndarray of float64, shape (T,), or None
        Bytes/s of an all-reduce within one machine and between machines; devices per machine.
    options : ListedOptions or None
        The options of stages, if `from_options` lists them.
    by_options : bool
        Whether stages are chosen among options: strategies, memory by position, a schedule, all-reduce.
    plan_cost : PlanCost or None
        What plans are compared by, instead of the goal's objective.
    tensors : tuple of (producer, consumers, bytes)
        Data passed between layers, by layer index.
    ties : tuple of tuple of int
        Groups of layers that share weights.
    fixed_price : float
        $/hour that does not depend on the devices.
    layer_names, type_names, name
        Names.
    layer_kinds : tuple of str
        Kind of each layer, as in `Layer`; ``""`` if unknown. No cost depends on it.
    layer_modules : tuple of tuple of str
        Modules that are placed with each layer, as in `Layer`.
    parameters : tuple of float
        Bytes of the parameters of each layer.
    backward : ndarray of float64 of the shape of `compute`, or None
        Of `compute`, the seconds of the backward pass, where they are known. No cost depends on them.
    prefill : ndarray of float64 of the shape of `compute`, or None
        Seconds in which each layer reads the context of a sequence, where it decodes and they are known. No
        cost depends on them.
    conditions : Conditions
        Mode, precision, batch and more that the times are for, as in `Workload`. No cost depends on them.
    n_layers, n_types, n_labels : int
        Sizes; a gene is a label from 0 to ``n_labels - 1``.
    label_types : ndarray of int32, shape (n_labels,)
        Device type of each label.

    Raises
    ------
    ValueError, TypeError
        Naming the field, the value and what is allowed.

    Examples
    --------
    >>> import stageplan as sp
    >>> layers = [
    ...     sp.Layer(name="body", compute={"cpu": 4.0, "gpu": 1.0}),
    ...     sp.Layer(name="head", compute={"cpu": 1.0, "gpu": None}),
    ... ]
    >>> types = [sp.DeviceType(name="cpu", price=1.0), sp.DeviceType(name="gpu", price=3.0, limit=2)]
    >>> workload, cluster = sp.Workload(name="net", layers=layers), sp.Cluster(name="lab", types=types)
    >>> problem = sp.Problem(workload, cluster, sp.Goal(min_throughput=1))
    >>> problem
    net on lab: 2 layers on 2 device types (cpu, gpu); cheapest plan for 1e+06 examples, at least 1 examples/s
    >>> problem.compute
    array([[ 4.,  1.],
           [ 1., inf]])
    >>> problem.replace(max_price=5.0).goal.max_price
    5.0
    """

    compute: Array
    send: Array
    receive: Array
    compute_parallel: Array
    transfer_parallel: Array
    memory: Array
    column_type: npt.NDArray[np.int32] | None
    column_degree: npt.NDArray[np.int32] | None
    column_strategy: tuple[str, ...] | None
    sharded: Array | None
    activations: Array | None
    workspace: Array | None
    gradients: Array | None
    update: Array | None
    link: Array | None
    network: Array | None
    machine: Array | None
    options: listed_options.ListedOptions | None
    backward: Array | None
    prefill: Array | None
    by_options: bool
    plan_cost: PlanCost | None
    price: Array
    limit: Array
    capacity: Array
    bandwidth: Array
    tensors: tuple[tuple[int, tuple[int, ...], float], ...]
    ties: tuple[tuple[int, ...], ...]
    fixed_price: float
    goal: Goal
    layer_names: tuple[str, ...]
    layer_kinds: tuple[str, ...]
    layer_modules: tuple[tuple[str, ...], ...]
    parameters: tuple[float, ...]
    type_names: tuple[str, ...]
    name: str
    conditions: Conditions
    label_types: npt.NDArray[np.int32]
    core: _core.Problem
    _stated: dict[str, Array | None]  # memory and workspace, whatever the goal
    _scorer: tuple[float | None, _core.Scorer] | None = None

    def __init__(
        self,
        workload: Workload,
        cluster: Cluster,
        goal: Goal | None = None,
        *,
        plan_cost: PlanCost | None = None,
    ) -> None:
        if not isinstance(workload, Workload):
            raise InputTypeError(f"workload is {type(workload).__name__}; it must be a Workload")
        if not isinstance(cluster, Cluster):
            raise InputTypeError(f"cluster is {type(cluster).__name__}; it must be a Cluster")
        fields = lower(workload, cluster) | {"plan_cost": plan_cost}
        self._set(fields, goal=Goal() if goal is None else goal)

    @classmethod
    def from_arrays(
        cls,
        compute: npt.ArrayLike,
        price: npt.ArrayLike,
        *,
        limit: npt.ArrayLike | None = None,
        send: npt.ArrayLike | None = None,
        receive: npt.ArrayLike | None = None,
        compute_parallel: npt.ArrayLike = 1.0,
        transfer_parallel: npt.ArrayLike = 1.0,
        memory: npt.ArrayLike | None = None,
        capacity: npt.ArrayLike | None = None,
        fixed_price: float = 0.0,
        examples: float = 1e6,
        tensors: Tensors | None = None,
        bandwidth: npt.ArrayLike | None = None,
        objective: Objective = "cost",
        min_throughput: float | None = None,
        max_duration: float | None = None,
        max_cost: float | None = None,
        max_price: float | None = None,
        overlap: bool = True,
        merge: Literal["adjacent", "type"] = "adjacent",
        split: bool = False,
        max_devices_per_stage: int | None = None,
        column_type: npt.ArrayLike | None = None,
        column_degree: npt.ArrayLike | None = None,
        column_strategy: Sequence[str] | None = None,
        sharded: npt.ArrayLike | None = None,
        activations: npt.ArrayLike | None = None,
        workspace: npt.ArrayLike | None = None,
        gradients: npt.ArrayLike | None = None,
        update: npt.ArrayLike | None = None,
        link: npt.ArrayLike | None = None,
        network: npt.ArrayLike | None = None,
        machine: npt.ArrayLike | None = None,
        schedule: Literal["gpipe", "1f1b"] | None = None,
        microbatches: int | None = None,
        batch: int | None = None,
        max_stages: int | None = None,
        whole_machines: bool = False,
        same_strategy: bool = False,
        same_replicas: bool = False,
        equal_shares: bool = False,
        layer_names: Sequence[str] | None = None,
        type_names: Sequence[str] | None = None,
        plan_cost: PlanCost | None = None,
    ) -> Problem:
        """Make a problem from plain arrays.

        Parameters
        ----------
        compute : array_like, shape (L, T) or (L, C)
            Seconds per example of each layer on each type; inf where the type cannot run the layer. With
            `column_type` there are C columns, each a type and a strategy.
        price : array_like, shape (T,)
            $/device-hour.
        limit, capacity, bandwidth : array_like, shape (T,), optional
            Devices, bytes a device, bytes/s; inf or absent: no limit, free transfers.
        send, receive : array_like, of the shape of `compute`, optional
            Seconds per example to send a layer's output, and to receive its input.
        compute_parallel : array_like, broadcast to the shape of `compute`
            Parallel fraction of compute: the part that is divided among the devices (with strategies: the
            replicas) of a stage (alpha).
        transfer_parallel : array_like, broadcast to (T,)
            Parallel fraction of transfer (beta).
        memory : array_like, shape (L,) or (L, C), optional
            Resident bytes on each device.
        column_type, column_degree : array_like of int, shape (C,), optional
            Device type, and devices per replica, of each column; by default one column per type and 1 device.
        column_strategy : sequence of str, optional
            Name of the strategy of each column; default: ``""`` for degree 1 and ``"tp4"`` for degree 4.
        sharded, activations, workspace, gradients : array_like, shape (L,) or (L, C), optional
            Bytes per device: divided among the replicas of a stage; resident for each example in flight; used
            only while the layer runs, for each example at a time if there is a `batch`; all-reduced by the
            replicas once per iteration.
        update : array_like, shape (L,) or (L, C), optional
            Seconds of the optimiser per iteration.
        link, network : array_like, shape (T,), optional
            Bytes/s of an all-reduce within one machine (absent: free) and between machines (absent: as link).
        machine : array_like, shape (T,), optional
            Devices per machine; absent: one machine holds all.
        tensors : sequence of (producer, consumers, bytes), optional
            Data between layers, for networks that are graphs.
        fixed_price : float
            $/hour that does not depend on the devices.
        examples, objective, min_throughput, max_duration, max_cost, max_price
            As in `Goal`; so are overlap, merge, split, max_devices_per_stage, schedule, microbatches, batch,
            max_stages, whole_machines, same_strategy, same_replicas and equal_shares.
        layer_names, type_names : sequence of str, optional
            Names of the layers and of the device types; default: ``layer0``, ``layer1`` and so on, ``type0``
            and so on.
        plan_cost
            As in `Problem`.

        Returns
        -------
        Problem

        Raises
        ------
        ValueError, TypeError
            Naming the argument, the value and what is allowed.

        Examples
        --------
        >>> import stageplan as sp
        >>> problem = sp.Problem.from_arrays(
        ...     compute=[[4.0, 1.0], [1.0, float("inf")]], price=[1.0, 3.0], limit=[8, 2], min_throughput=1.0
        ... )
        >>> problem.n_layers, problem.n_types, problem.n_labels
        (2, 2, 2)
        >>> sp.solve(problem).plan.scheme
        array([1, 0], dtype=int8)
        """
        goal = Goal(
            objective=objective,
            examples=examples,
            min_throughput=min_throughput,
            max_duration=max_duration,
            max_cost=max_cost,
            max_price=max_price,
            overlap=overlap,
            merge=merge,
            split=split,
            max_devices_per_stage=max_devices_per_stage,
            schedule=schedule,
            microbatches=microbatches,
            batch=batch,
            max_stages=max_stages,
            whole_machines=whole_machines,
            same_strategy=same_strategy,
            same_replicas=same_replicas,
            equal_shares=equal_shares,
        )
        given = {
            "compute": compute, "price": price, "limit": limit, "send": send, "receive": receive,
            "compute_parallel": compute_parallel, "transfer_parallel": transfer_parallel,
            "memory": memory, "capacity": capacity, "fixed_price": fixed_price, "tensors": tensors,
            "bandwidth": bandwidth, "column_type": column_type, "column_degree": column_degree,
            "column_strategy": column_strategy, "sharded": sharded, "activations": activations,
            "workspace": workspace, "gradients": gradients, "update": update, "link": link,
            "network": network, "machine": machine, "layer_names": layer_names, "type_names": type_names,
        }  # fmt: skip
        fields = fields_of_arrays(given)
        for name in strategies.BY_BATCH:
            strategies.check_batch(fields, goal, name)
        return cls._of(fields | {"plan_cost": plan_cost}, goal)

    @classmethod
    def from_options(
        cls,
        layers: int,
        price: npt.ArrayLike,
        *,
        first: npt.ArrayLike,
        last: npt.ArrayLike,
        type: npt.ArrayLike,
        devices: npt.ArrayLike,
        time: npt.ArrayLike,
        pass_time: npt.ArrayLike | None = None,
        sync: npt.ArrayLike | None = None,
        memory: npt.ArrayLike | None = None,
        activations: npt.ArrayLike | None = None,
        replicas: npt.ArrayLike | None = None,
        limit: npt.ArrayLike | None = None,
        capacity: npt.ArrayLike | None = None,
        machine: npt.ArrayLike | None = None,
        fixed_price: float = 0.0,
        **goal: Any,
    ) -> Problem:
        """Make a problem from a list of all options of stages, computed by your own cost model.

        Parameters
        ----------
        layers : int
            Number of layers, L, at most 4096.
        price : array_like, shape (T,)
            $/device-hour of each device type.
        first, last, type, devices : array_like of int, shape (N,)
            Of each option: first and last layer of the stage, device type, number of devices. Stages without
            an option are not allowed.
        time : array_like, shape (N,)
            Seconds per example.
        pass_time : array_like, shape (N,), optional
            Seconds per example of a microbatch's pass through the stage, with a schedule; default: `time`.
        sync : array_like, shape (N,), optional
            Seconds per example of all-reduce and update; without a schedule they are added to `time`.
        memory, activations : array_like, shape (N,), optional
            Resident bytes per device, and bytes per device for each example of a microbatch in flight.
        replicas : array_like of int, shape (N,), optional
            Number of replicas; default: 1.
        limit, capacity, machine : array_like, shape (T,), optional
            Devices, bytes per device, devices per machine; inf or absent: no limit, one machine.
        fixed_price : float
            $/hour that does not depend on the devices.
        **goal
            Fields of the `Goal`, and `plan_cost` as in `Problem`.

        Returns
        -------
        Problem

        Raises
        ------
        ValueError, TypeError
            Naming the argument, the value and what is allowed.

        Examples
        --------
        Two layers as one stage on two devices, or each on one device:

        >>> import stageplan as sp
        >>> problem = sp.Problem.from_options(
        ...     2, price=[1.0], first=[0, 0, 1], last=[1, 0, 1], type=[0, 0, 0], devices=[2, 1, 1],
        ...     time=[2.0, 1.5, 1.0], split=True, examples=3600,
        ... )
        >>> problem.by_options
        True
        """
        check_number("layers", layers, minimum=1, maximum=MAX_LAYERS, whole=True)
        given = {
            "first": first, "last": last, "type": type, "devices": devices,
            "time": time, "pass_time": pass_time, "sync": sync, "memory": memory,
            "activations": activations, "replicas": replicas,
        }  # fmt: skip
        types = as_floats("price", price).size
        listed = listed_options.listed_options(given, layers, types)
        problem = cls.from_arrays(
            listed_options.seconds_of_options(listed, layers, types),
            price,
            limit=limit,
            capacity=capacity,
            machine=machine,
            fixed_price=fixed_price,
            **(goal | {"objective": "cost"}),  # for objective throughput, the options are a limit
        )
        stated = msgspec.structs.asdict(problem.goal) | {"objective": goal.get("objective", "cost")}
        return cls._of(problem._fields() | {"options": listed}, Goal(**stated))

    @classmethod
    def from_measured(
        cls,
        measured: str | os.PathLike[str] | Mapping[str, Any] | npt.ArrayLike,
        cluster: Cluster,
        goal: Goal | None = None,
        *,
        devices: npt.ArrayLike | None = None,
        memory: npt.ArrayLike | None = None,
    ) -> Problem:
        """Make a problem from measured stages. Stages that have no time are not offered.

        Parameters
        ----------
        measured : path-like, mapping, or array_like of shape (L, L, T, K)
            A CSV or Parquet file, or a mapping of columns such as ``dict(frame)``, with a row for each stage
            that was measured, in columns ``first`` and ``last``, its layers from 0 on; ``type``, the name of
            a device type or its number; ``devices``; ``time``, seconds per example, empty or NaN where there
            is none; and, if they are known, ``pass_time``, ``sync``, ``memory``, ``activations`` and
            ``replicas``, as in `from_options`. Or the seconds per example by first layer, last layer, device
            type and number of devices, as an array, with NaN or inf where there are none.
        cluster
            The device types.
        goal
            The objective and limits of plans.
        devices : array_like of int, shape (K,) or (T, K)
            With an array: the numbers of devices that it has times for.
        memory : array_like of float, shape (L, L, T, K), optional
            With an array: resident bytes per device.

        Returns
        -------
        Problem

        Raises
        ------
        OSError
            The file cannot be read.
        ValueError, TypeError
            Naming the column, the value and what is allowed.
        ImportError
            The file is Parquet, and pyarrow is not installed.

        Examples
        --------
        Two layers, which were not measured together on two devices:

        >>> import stageplan as sp
        >>> nan = float("nan")
        >>> seconds = [[[[2.0, 1.1]], [[4.0, nan]]], [[[nan, nan]], [[3.0, 1.6]]]]
        >>> lab = sp.Cluster(name="lab", types=[sp.DeviceType(name="gpu", price=1.0, limit=3)])
        >>> problem = sp.Problem.from_measured(
        ...     seconds, lab, sp.Goal(objective="throughput", split=True), devices=[1, 2]
        ... )
        >>> [stage.devices for stage in sp.solve(problem).plan.stages]
        [1, 2]
        """
        from .measured import measured_fields

        fields = measured_fields(measured, cluster, devices, memory)
        return cls._of(fields, Goal() if goal is None else goal)

    def with_stage_cost(
        self,
        cost: StageCost,
        *,
        replicas: Sequence[int] | None = None,
        layers: Mapping[str, npt.ArrayLike] | None = None,
        types: Mapping[str, npt.ArrayLike] | None = None,
        threads: int | None = None,
    ) -> Problem:
        """Make the problem whose stages cost what a function of yours says.

        The function is called once for each stage on each type, strategy and number of replicas; options
        that others replace are left out. All methods, bounds and proofs hold for these options, as with
        `from_options`. The times of the layers then only describe them to learned policies and to the
        function; layers of infinite time are not run.

        Parameters
        ----------
        cost
            A function decorated with `stage_cost`.
        replicas : sequence of int, optional
            Numbers of replicas of a stage that the function is called for; default: all up to 256 devices,
            or as many as the goal and the type's limit allow.
        layers : mapping of str to array_like, shape (L,), (L, T) or (L, C), optional
            Your own numbers of each layer, whose sums and maxima the function reads.
        types : mapping of str to array_like, shape (T,), optional
            Your own numbers of each device type.
        threads : int, optional
            Number of threads, by default all available cores. The result does not depend on it.

        Returns
        -------
        Problem
            With `options`. They stay as they are when the problem is replaced; the schedule, the batch and
            what has to be the same in all stages cannot be replaced.

        Raises
        ------
        ValueError, TypeError
            The function does not compile, raises an error, returns numbers that are not allowed, or
            different ones for the same stage; a variable that it reads has changed since it was compiled;
            or an argument is wrong. One sentence, with the line of the function.
        ImportError
            numba is not installed.

        Examples
        --------
        Devices of a stage that pass their gradients to each other:

        >>> import stageplan as sp
        >>> @sp.stage_cost
        ... def cost(stage, layers, device):
        ...     exchange = (stage.replicas - 1) / stage.replicas * layers.sum.weights / device.wire
        ...     return layers.sum.compute / stage.replicas + exchange
        >>> problem = sp.Problem.from_arrays([[4.0], [2.0]], price=[1.0], limit=[2], objective="throughput")
        >>> own = problem.with_stage_cost(cost, layers={"weights": [8.0, 0.0]}, types={"wire": [1.0]})
        >>> sp.solve(own, "exact").plan.time
        6.0
        """
        from .stage_fill import fill_options

        options = fill_options(self, cost, replicas, layers or {}, types or {}, threads)
        return Problem._of(self._fields() | {"options": options}, self.goal)

    def replace(self, **changes: Any) -> Problem:
        """Make a problem that differs from this one.

        Parameters
        ----------
        **changes
            Whole arrays, such as ``limit`` (``memory`` without activations); tensors, fixed_price,
            layer_names, layer_kinds, type_names; ``plan_cost``; or fields of the `Goal`.

        Returns
        -------
        Problem

        Raises
        ------
        ValueError, TypeError
            Naming the field, its value and what is allowed.
        """
        fields = self._fields()
        if "compute" in changes:
            fields["backward"] = fields["prefill"] = None
        goal = msgspec.structs.asdict(self.goal)
        for name, value in changes.items():
            if name in goal:
                goal[name] = value
            elif name == "plan_cost":
                fields[name] = value
            else:
                fields[name] = replaced_field(self, name, value)
        listed_options.check_goal(self.options, self.goal, changed := Goal(**goal))
        return Problem._of(fields, changed)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the problem to a file, NumPy's .npz, atomically; `load` returns an equal one.

        The file has the arrays under their names and, as JSON in ``document``, the goal and the names.

        Raises
        ------
        OSError
            The file cannot be written.

        Examples
        --------
        >>> import stageplan as sp
        >>> problem = sp.Problem.from_arrays([[4.0, 1.0], [1.0, 2.0]], price=[1.0, 3.0])
        >>> problem.save("problem.npz")
        >>> sp.Problem.load("problem.npz") == problem
        True
        """
        from .problem_file import write_problem

        write_problem(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Problem:
        """Read a problem from a file that `save` wrote.

        Raises
        ------
        OSError
            The file cannot be read.
        ValueError
            It is not a valid problem file.
        """
        from .problem_file import read_problem

        return read_problem(path)

    def _fields(self) -> dict[str, Any]:
        fields = {name: self.__dict__[name] for name in (*ARRAYS, *_REST, *_OPTIONAL)}
        return fields | self._stated | {"plan_cost": self.plan_cost}

    @classmethod
    def _of(cls, fields: dict[str, Any], goal: Goal) -> Problem:
        self = cls.__new__(cls)
        self._set(fields, goal)
        return self

    def _set(self, fields: dict[str, Any], goal: Goal) -> None:
        if not isinstance(goal, Goal):
            raise InputTypeError(f"goal is {show(goal)}; it must be a Goal")
        goal = _with_groups(goal, fields["conditions"])
        state: dict[str, Any] = {name: frozen(fields[name]) for name in ARRAYS}
        state |= {name: fields[name] for name in (*_REST, *_OPTIONAL)}
        state["plan_cost"] = check_plan_cost(fields.get("plan_cost"))
        state |= {"goal": goal, "_stated": {name: state[name] for name in ("memory", "workspace")}}
        state |= strategies.resident(state, goal)
        state["by_options"] = strategies.by_options(state, goal)
        self.__dict__.update(state)
        core = self._make_core()
        self.__dict__.update(core=core, label_types=frozen(core.label_types, np.int32))

    def _make_core(self) -> _core.Problem:
        goal = self.goal
        maximum = goal.max_devices_per_stage
        if maximum is not None and maximum > _core.MAX_DEVICES:
            raise InputError(
                f"max_devices_per_stage is {show(maximum)}; it must be at most {_core.MAX_DEVICES:,}"
            )
        data = _core.ProblemData()
        data.layers, data.types = self.n_layers, self.n_types
        for name, array in self._core_arrays().items():
            setattr(data, name, array)
        if self.by_options:
            strategies.check_together(self.__dict__, goal)
            data.set_columns(strategies.lower(self.__dict__, goal, self.n_types))
        elif (workspace := strategies.workspace_of_all_types(self.__dict__)) is not None:
            data.workspace = workspace
        if self.plan_cost is not None:
            data.set_plan_cost(self.plan_cost.core)
        data.kinds = [_kind_code(kind) for kind in self.layer_kinds]
        data.set_tensors(self.tensors)
        data.fixed_price = self.fixed_price
        data.examples = goal.examples
        data.min_throughput = goal.min_throughput or 0.0
        data.max_duration = goal.max_duration or math.inf
        data.max_cost = goal.max_cost or math.inf
        data.max_price = goal.max_price or math.inf
        data.objective = goal.objective
        data.by_type = goal.merge == "type"
        data.overlap = goal.overlap
        data.split = goal.split
        data.max_devices_per_stage = _core.MAX_DEVICES if maximum is None else maximum
        return _core.Problem(data)

    def _core_arrays(self) -> dict[str, Array]:
        """Give the arrays by type of the core: with columns, those of the fastest of each type."""
        arrays = {name: getattr(self, name) for name in ARRAYS}
        if not self.by_options:
            return arrays
        fastest = strategies.fastest_columns(self.__dict__, self.n_types)
        return arrays | fastest | {"memory": np.zeros(self.n_layers)}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Problem cannot be changed: {name} is fixed; make another Problem")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Problem cannot be changed: {name} is fixed; make another Problem")

    def __reduce__(self) -> tuple[Any, ...]:
        fields = self._fields()
        return Problem._of, (fields, self.goal)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Problem):
            return NotImplemented
        same = all(getattr(self, name) == getattr(other, name) for name in ("goal", "plan_cost", *_REST))
        arrays = (*ARRAYS, *_OPTIONAL)
        return same and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in arrays)

    def __hash__(self) -> int:
        return hash((self.goal, self.name, self.layer_names, self.type_names, self.compute.tobytes()))

    def __str__(self) -> str:
        return printable(
            f"{self.name}: {self.n_layers} layers on {self.n_types} device types "
            f"({', '.join(self.type_names)}); {self.goal}"
            + ("" if self.plan_cost is None else f", compared by {self.plan_cost.name}")
        )

    __repr__ = __str__

    @property
    def has_one_order(self) -> bool:
        """Whether the layers have only one valid order, so that proofs hold for all plans.

        True without tensors, for then the order is part of the problem; if each layer passes a tensor to the
        next one; and with merge ``"type"``, where stages are not intervals of the order.
        """
        passed = {
            producer
            for producer, consumers, _ in self.tensors
            if any(consumer == producer + 1 for consumer in consumers)
        }
        return not self.tensors or len(passed) == self.n_layers - 1 or self.goal.merge == "type"

    @property
    def n_layers(self) -> int:
        """Number of layers, L."""
        return len(self.layer_names)

    @property
    def n_types(self) -> int:
        """Number of device types, T."""
        return len(self.type_names)

    @property
    def n_labels(self) -> int:
        """Number of values that a gene can take."""
        return len(self.label_types)

    def scorer(self, target: float | None) -> _core.Scorer:
        """Native scorer at a target (examples/s), or with exact provisioning; the last one is cached."""
        if target is not None and type(target) is not float:  # floats are checked once
            check_number("target", target, above=0)
        cached = self._scorer
        if cached is None or cached[0] != target:
            if target is not None:
                check_number("target", target, above=0)
            cached = (target, _core.Scorer(self.core, target))
            self.__dict__["_scorer"] = cached
        return cached[1]


def _with_groups(goal: Goal, conditions: Conditions) -> Goal:
    """Allow no more stages than there are groups of sequences to decode: others would have nothing to do."""
    groups = conditions.groups
    if groups is None or (goal.max_stages is not None and goal.max_stages <= groups):
        return goal
    return msgspec.structs.replace(goal, max_stages=groups)


def _kind_code(kind: str) -> int:
    """Hash of a layer kind in eight bits, the same in every problem, below a bit that is set."""
    return 256 | zlib.crc32(kind.encode()) & 255 if kind else 0


def check_problem(problem: object) -> None:
    """Raise TypeError unless it is a `Problem`."""
    if not isinstance(problem, Problem):
        raise InputTypeError(f"problem is {type(problem).__name__}; it must be a Problem")
