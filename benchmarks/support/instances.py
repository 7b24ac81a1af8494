"""Problems and populations that the benchmarks run on; the same arguments give the same ones."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import stageplan as sp
from stageplan.cluster import Cluster, DeviceType
from stageplan.readers import read_cluster, read_goal, read_workload
from stageplan.workload import Workload

Schemes = npt.NDArray[np.int8]
Array = npt.NDArray[np.float64]

WORKLOADS = Path(__file__).resolve().parents[3] / "shared" / "workloads"
EXAMPLES = ("ctr", "bert-large", "resnet50")

GPUS = Cluster(  # for profiles, which hold the times of a V100 alone
    name="v100 and its kin",
    types=(
        DeviceType(name="v100", price=3.9, limit=16, bandwidth=1.25e9),
        DeviceType(name="t4", price=0.53, limit=64, bandwidth=6.25e8, like="v100", speed=0.4),
        DeviceType(name="a100", price=3.4, limit=8, bandwidth=6.25e9, like="v100", speed=2.2),
    ),
)

CLASSES = 4  # layer classes, each in runs of RUN layers
RUN = 4
TOTAL = 10.0  # seconds of all layers on a type of average speed; the allowed stage time is 1
TRANSFER = TOTAL / 20


@dataclass(frozen=True)
class _Arrays:
    """Arguments of `Problem.from_arrays` that all families share."""

    compute: Array
    send: Array
    compute_parallel: Array
    transfer_parallel: Array
    price: Array

    def problem(self, **goal: object) -> sp.Problem:
        return sp.Problem.from_arrays(
            self.compute,
            self.price,
            send=self.send,
            compute_parallel=self.compute_parallel,
            transfer_parallel=self.transfer_parallel,
            examples=3600.0,  # so that a cost is seconds per example times $/hour
            min_throughput=1.0,
            **goal,
        )


def _arrays(L: int, T: int, seed: int) -> _Arrays:
    random = np.random.default_rng(seed)
    alpha, beta = random.uniform(0.93, 0.99, T), random.uniform(0.90, 0.98, T)
    layer_class = random.integers(0, CLASSES, -(-L // RUN)).repeat(RUN)[:L]
    speed, affinity = random.lognormal(0, 0.7, T), random.lognormal(0, 0.8, (CLASSES, T))
    base = random.lognormal(0, 0.6, L)
    base *= TOTAL / base.sum()
    send = random.lognormal(0, 1.0, L)
    send *= TRANSFER / send.mean()
    return _Arrays(
        compute=base[:, None] * affinity[layer_class] / speed,
        send=send[:, None] * random.lognormal(0, 0.2, T),
        compute_parallel=alpha,
        transfer_parallel=beta,
        price=speed**0.9 * random.lognormal(0, 0.15, T),
    )


def family(L: int, T: int, seed: int = 0, limit: object = None, **goal: object) -> sp.Problem:
    """Make a problem of the main family: log-normal layers in classes, types of which none dominates.

    Of each type `limit` devices may be used (a number, or one for each type). The allowed stage time is 1 s,
    a cost stage time times $/hour.
    """
    limits = None if limit is None else np.broadcast_to(np.asarray(limit, dtype=float), (T,))
    return _arrays(L, T, seed).problem(limit=limits, **goal)


def one_cheap_type(L: int, T: int, seed: int = 0) -> sp.Problem:
    """Make a problem where one type costs a twentieth of what its speed is worth."""
    arrays = _arrays(L, T, seed)
    arrays.price[np.random.default_rng(seed).integers(T)] /= 20
    return arrays.problem()


def faster_than_asked(L: int, T: int, seed: int = 0) -> sp.Problem:
    """Make a problem whose cheapest plan is faster than asked, for a fixed price weighs on each second."""
    arrays = _arrays(L, T, seed)
    return arrays.problem(fixed_price=20 * float(arrays.price.sum()))


def scheduled(L: int, T: int, seed: int = 0, limit: float | None = None) -> sp.Problem:
    """Make a training problem under 1F1B with 32 microbatches of 8 examples and 6 strategies a type.

    Tensor parallelism of 1, 2, 4 and 8 devices, and of 1 and 2 with recomputation, which keeps less of the
    activations. Of each type `limit` devices may be used.
    """
    random = np.random.default_rng(seed)
    degree, recomputed = np.tile([1, 2, 4, 8, 1, 2], T), np.tile([0, 0, 0, 0, 1, 1], T)
    column_type = np.repeat(np.arange(T), 6)
    arrays = _arrays(L, T, seed)
    send = arrays.send * 0.025 / (L * TRANSFER)  # of 1 s of compute
    activations = 0.35 * random.lognormal(0, 0.3, (L, 1)) * np.where(recomputed, 0.15, 1.0) / degree
    return sp.Problem.from_arrays(
        arrays.compute[:, column_type] / TOTAL / degree**0.85 * np.where(recomputed, 1.33, 1.0),
        arrays.price,
        column_type=column_type,
        column_degree=degree,
        send=send[:, column_type],
        receive=np.vstack([np.zeros(T), send[:-1]])[:, column_type],
        memory=8 * random.lognormal(0, 0.3, (L, 1)) / degree,
        activations=activations,
        gradients=np.ones((L, 1)) / degree,
        link=np.full(T, 500.0),
        network=np.full(T, 500.0),
        capacity=np.full(T, 80.0),
        limit=None if limit is None else np.full(T, limit),
        max_devices_per_stage=64,
        schedule="1f1b",
        microbatches=32,
        batch=256,
        examples=3600.0,
    )


FAMILIES = {"main": family, "one cheap type": one_cheap_type, "faster than asked": faster_than_asked}


def example(name: str) -> sp.Problem:
    """Make the problem of a built-in example."""
    return sp.Problem(read_workload(name), read_cluster(name), read_goal(name))


def workload_files() -> list[Path]:
    """List the published workloads; none where their folder is absent."""
    profiles = (path for path in WORKLOADS.glob("pipedream/*.txt") if path.stem.islower())  # no licence
    return sorted([*WORKLOADS.glob("dnn-partitioning/*.json"), *profiles])


def published(path: Path) -> sp.Problem:
    """Make the problem of a published workload; of a profile, on `GPUS` and eight times as fast as a V100."""
    workload, goal = read_workload(path), read_goal(path)
    if path.suffix == ".json":
        return sp.Problem(workload, read_cluster(path), goal)
    seconds = sum(layer.compute["v100"] or 0.0 for layer in workload.layers) / workload.batch
    return sp.Problem(workload, GPUS, sp.Goal(min_throughput=8 / seconds))


def best_plan(problem: sp.Problem) -> sp.Plan:
    """Prove the best plan, to measure searches against."""
    result = sp.solve(problem, "exact", stop=sp.MaxRuntime(60))
    if not (result.proven and result.plan.feasible):
        raise ValueError(f"nothing is proven of {problem} but a gap of {result.gap}")
    return result.plan


def kin(workload: Workload, types: tuple[DeviceType, ...], T: int, seed: int) -> Cluster:
    """Draw T types, each like one of `types` but for speed, by kind of layer, and price.

    Both are log-normal: speed 0.5 over types and 0.8 over kinds, as the main family's affinity; price 0.15
    about speed^0.9, as there.
    """
    random = np.random.default_rng(seed)
    kinds = sorted({layer.kind for layer in workload.layers})

    def draw(i: int) -> DeviceType:
        base, factor = types[-i % len(types)], float(random.lognormal(0, 0.5))  # the first, then the fastest
        speed = {k: base.speed_of(k) * factor * float(random.lognormal(0, 0.8)) for k in kinds}
        return DeviceType(
            name=f"{base.name}-{i}",
            price=base.price * factor**0.9 * float(random.lognormal(0, 0.15)),
            limit=base.limit,
            capacity=base.capacity,
            bandwidth=base.bandwidth,
            like=base.like or base.name,
            speed=speed,
        )

    return Cluster(name=f"{T} types", types=tuple(draw(i) for i in range(T)))


def on_kin(name: str, T: int, seed: int) -> sp.Problem:
    """Make the problem of a built-in example, or a profile, on T types like its own."""
    if name in EXAMPLES:
        workload, goal = read_workload(name), read_goal(name)
        types = tuple(t for t in read_cluster(name).types if t.like is None)
    else:
        path = WORKLOADS / "pipedream" / f"{name}.txt"
        workload, goal, types = read_workload(path), published(path).goal, GPUS.types
    return sp.Problem(workload, kin(workload, types, T, seed), goal)


def mixed_plan(problem: sp.Problem) -> sp.Plan | None:
    """Prove the best plan, of two types or more: while one alone is best, half of its devices are taken away.

    None where no plan is left.
    """
    while True:
        result = sp.solve(problem, "exact", stop=sp.MaxRuntime(60))
        if not (result.proven and result.plan.feasible):
            return None
        used = {stage.type: stage.devices for stage in result.plan.stages}
        if len(used) > 1:
            return result.plan
        limit = problem.limit.copy()
        for name, devices in used.items():
            limit[problem.type_names.index(name)] = devices // 2
        problem = problem.replace(limit=limit)


def mixed(make: Callable[[int], sp.Problem]) -> sp.Plan:
    """Find the best plan, of two types or more, of the first of 100 seeds whose problem has one."""
    return next(plan for seed in range(100) if (plan := mixed_plan(make(seed))))


def random_population(L: int, T: int, n: int, seed: int = 1) -> Schemes:
    """Every gene drawn by itself: about L (1 - 1/T) stages a scheme."""
    return np.random.default_rng(seed).integers(0, T, (n, L), dtype=np.int8)


def evolved_population(L: int, T: int, n: int, seed: int = 1) -> Schemes:
    """Children of one parent of five stages, each with one point mutation on average."""
    random = np.random.default_rng(seed)
    cuts = random.choice(np.arange(1, L), size=4, replace=False)
    stage = np.zeros(L, np.int8)
    stage[cuts] = 1
    parent = (stage.cumsum() % T).astype(np.int8)
    children = np.tile(parent, (n, 1))
    mutated = random.random((n, L), dtype=np.float32) < 1 / L
    children[mutated] = random.integers(0, T, int(mutated.sum()), dtype=np.int8)
    return children


POPULATIONS = {"random": random_population, "evolved": evolved_population}
