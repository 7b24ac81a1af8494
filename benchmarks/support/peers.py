"""The same search in other optimisers, each driven the fastest way that its documentation offers.

All get the numba batch fitness of `baselines`, and the same operators as batched numba functions where they
let their users bring operators. A peer is a function that starts a search and returns an
``advance(generations)``, which runs so many more generations and returns the least fitness so far.

    python -m benchmarks.support.peers [CPU seconds]
"""

import os
import sys
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

# Idle threads of a BLAS spin, which counts as CPU time; numpy reads this when it is imported.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import numpy.typing as npt

import stageplan as sp
from benchmarks.support.baselines import NumbaGenetic, NumbaScorer, crossed, mutated, one_thread, winners
from benchmarks.support.instances import best_plan, family
from benchmarks.support.measure import no_garbage_collection

Advance = Callable[[int], float]
Start = Callable[[sp.Problem, int, int], Advance]
Array = npt.NDArray[np.float64]


def _random_schemes(problem: sp.Problem, n: int, seed: int) -> npt.NDArray[np.int8]:
    shape = (n, problem.n_layers)
    return np.random.default_rng(seed).integers(0, problem.n_types, shape, dtype=np.int8)


def _scorer(problem: sp.Problem) -> NumbaScorer:
    return NumbaScorer(problem, problem.goal.min_throughput)


# pymoo: a vectorised Problem, and vectorised operators of its operator classes -----------------------------


def pymoo(problem: sp.Problem, population: int, seed: int) -> Advance:
    """Start pymoo's GA."""
    from pymoo.algorithms.soo.nonconvex.ga import GA
    from pymoo.core.crossover import Crossover
    from pymoo.core.mutation import Mutation
    from pymoo.core.problem import Problem
    from pymoo.core.selection import Selection
    from pymoo.core.termination import NoTermination

    scorer = _scorer(problem)

    class Schemes(Problem):
        def __init__(self):
            super().__init__(n_var=problem.n_layers, n_obj=1, xl=0, xu=problem.n_types - 1, vtype=np.int8)

        def _evaluate(self, x, out, *args, **kwargs):
            out["F"] = scorer.fitness(x)[:, None]

    class Tournament(Selection):
        def _do(self, problem, pop, n_select, n_parents, **kwargs):
            fitness = np.ascontiguousarray(pop.get("F")[:, 0])
            return winners(fitness, n_select * n_parents).reshape(n_select, n_parents)

    class OnePoint(Crossover):
        def __init__(self):
            super().__init__(n_parents=2, n_offsprings=1, prob=1.0)

        def _do(self, problem, X, **kwargs):
            return crossed(X[0], X[1])[None]

    class Mutate(Mutation):
        def _do(self, schemes, X, **kwargs):
            return mutated(X, problem.n_types)

    algorithm = GA(
        pop_size=population,
        sampling=_random_schemes(problem, population, seed),
        selection=Tournament(),
        crossover=OnePoint(),
        mutation=Mutate(),
        eliminate_duplicates=False,
    )
    algorithm.setup(Schemes(), termination=NoTermination(), seed=seed, verbose=False)

    def advance(generations: int) -> float:
        for _ in range(generations):
            algorithm.next()
        return float(algorithm.pop.get("F").min())

    return advance


# DEAP: byte strings as individuals, a map over the whole population, operators without loops over genes ----


def deap(problem: sp.Problem, population: int, seed: int) -> Advance:
    """Start DEAP's eaSimple."""
    import random

    from deap import algorithms, base, tools

    scorer, layers, types = _scorer(problem), problem.n_layers, problem.n_types
    random.seed(seed)

    class Fitness(base.Fitness):
        weights = (-1.0,)

    class Scheme(bytearray):
        def __init__(self, genes):
            super().__init__(genes)
            self.fitness = Fitness()

    def clone(scheme):
        copy = Scheme(scheme)
        copy.fitness.wvalues = scheme.fitness.wvalues
        return copy

    def evaluate_all(_, schemes):
        schemes = list(schemes)
        if not schemes:
            return []
        genes = np.frombuffer(b"".join(schemes), np.int8).reshape(-1, layers)
        return [(value,) for value in scorer.fitness(genes).tolist()]

    def select(schemes, k):
        fitness = np.fromiter((-s.fitness.wvalues[0] for s in schemes), float, len(schemes))
        return [schemes[i] for i in winners(fitness, k).tolist()]

    def mutate(scheme):
        first = int(random.random() * layers)
        length = 1 if random.random() < 0.5 else 1 + int(random.random() * (layers - first))
        scheme[first : first + length] = bytes((int(random.random() * types),)) * length
        return (scheme,)

    toolbox = base.Toolbox()
    toolbox.register("clone", clone)
    toolbox.register("map", evaluate_all)
    toolbox.register("evaluate", lambda scheme: None)
    toolbox.register("select", select)
    toolbox.register("mate", tools.cxOnePoint)
    toolbox.register("mutate", mutate)
    schemes = [Scheme(row.tobytes()) for row in _random_schemes(problem, population, seed)]

    def advance(generations: int) -> float:
        algorithms.eaSimple(schemes, toolbox, cxpb=0.8, mutpb=0.5, ngen=generations, verbose=False)
        return min(-s.fitness.wvalues[0] for s in schemes)

    return advance


# PyGAD: one fitness batch, and the operators as user-defined functions -------------------------------------


def pygad(problem: sp.Problem, population: int, seed: int) -> Advance:
    """Start PyGAD's GA."""
    import pygad as pygad_module

    scorer = _scorer(problem)

    def fitness(ga, schemes, indices):
        return -scorer.fitness(schemes)

    def select(fitness, count, ga):
        chosen = winners(-np.asarray(fitness, np.float64), count)
        return ga.population[chosen], chosen

    def cross(parents, size, ga):
        pairs = np.random.randint(len(parents), size=(2, size[0]))
        return crossed(parents[pairs[0]], parents[pairs[1]])

    def mutate(offspring, ga):
        return mutated(offspring, problem.n_types)

    ga = pygad_module.GA(
        num_generations=1,
        num_parents_mating=max(2, population // 2),
        initial_population=_random_schemes(problem, population, seed),
        gene_type=np.int8,
        fitness_func=fitness,
        fitness_batch_size=population,
        parent_selection_type=select,
        crossover_type=cross,
        mutation_type=mutate,
        keep_parents=0,
        keep_elitism=1,
        suppress_warnings=True,
    )

    def advance(generations: int) -> float:
        ga.num_generations = generations
        ga.run()
        return -float(np.max(ga.last_generation_fitness))

    return advance


# pygmo: its compiled algorithms; sga has no batch fitness, the others have ---------------------------------


def pygmo_sga(problem: sp.Problem, population: int, seed: int) -> Advance:
    """Start pygmo's sga, its genetic algorithm."""
    import pygmo as pg

    def genetic(generations: int):
        return pg.sga(
            gen=generations,
            cr=0.8,
            m=1 / problem.n_layers,
            param_s=2,
            crossover="single",
            mutation="uniform",
            selection="tournament",
            seed=seed,
        )

    return _pygmo(problem, population, seed, genetic, integers=True)


def pygmo_gaco(problem: sp.Problem, population: int, seed: int) -> Advance:
    """Start pygmo's gaco, an ant colony."""
    import pygmo as pg

    def ants(generations: int):
        algorithm = pg.gaco(gen=generations, ker=min(63, population), seed=seed)
        algorithm.set_bfe(pg.bfe(pg.member_bfe()))
        return algorithm

    return _pygmo(problem, population, seed, ants, integers=True)


def pygmo_pso(problem: sp.Problem, population: int, seed: int) -> Advance:
    """Start pygmo's pso_gen, a swarm; it moves in the reals, and a gene is a number rounded down."""
    import pygmo as pg

    def swarm(generations: int):
        algorithm = pg.pso_gen(gen=generations, memory=True, seed=seed)
        algorithm.set_bfe(pg.bfe(pg.member_bfe()))
        return algorithm

    return _pygmo(problem, population, seed, swarm, integers=False)


def _pygmo(
    problem: sp.Problem,
    population: int,
    seed: int,
    algorithm: Callable[[int], object],
    integers: bool,
) -> Advance:
    import pygmo as pg

    scorer, layers = _scorer(problem), problem.n_layers
    most = problem.n_types - 1 if integers else np.nextafter(problem.n_types, 0)

    class Schemes:
        def fitness(self, x):
            return scorer.fitness(x.reshape(1, layers))

        def batch_fitness(self, xs):
            return scorer.fitness(xs.reshape(-1, layers))

        def get_bounds(self):
            return [0] * layers, [most] * layers

        def get_nix(self):
            return layers if integers else 0

    state = [pg.population(pg.problem(Schemes()), population, b=pg.bfe(pg.member_bfe()), seed=seed)]

    def advance(generations: int) -> float:
        state[0] = pg.algorithm(algorithm(generations)).evolve(state[0])
        return float(state[0].champion_f[0])

    return advance


# evosax: generations in a compiled loop, the fitness as a callback -----------------------------------------


def evosax_simple(problem: sp.Problem, population: int, seed: int) -> Advance:
    """Start evosax's SimpleGA with a fine step, which gets furthest."""
    import optax
    from evosax.algorithms import SimpleGA

    def make(solution):
        strategy = SimpleGA(population, solution, std_schedule=optax.constant_schedule(0.1))
        strategy.elite_ratio = 0.25
        return strategy, strategy.default_params.replace(crossover_rate=0.1)

    return _evosax(problem, population, seed, make)


def evosax_mr15(problem: sp.Problem, population: int, seed: int) -> Advance:
    """Start evosax's MR15_GA, which is the fastest."""
    from evosax.algorithms import MR15_GA

    def make(solution):
        strategy = MR15_GA(population, solution)
        return strategy, strategy.default_params

    return _evosax(problem, population, seed, make)


def _evosax(problem: sp.Problem, population: int, seed: int, make: Callable) -> Advance:
    """Run a strategy of evosax; it moves in the reals, and a gene is a number rounded down."""
    import jax
    import jax.numpy as jnp

    scorer, types = _scorer(problem), problem.n_types
    strategy, params = make(jnp.zeros(problem.n_layers))
    shape = jax.ShapeDtypeStruct((population,), jnp.float32)

    def evaluate(x):
        genes = jnp.clip(x, 0, types - 1).astype(jnp.int8)
        return jax.pure_callback(lambda g: scorer.fitness(np.asarray(g)).astype(np.float32), shape, genes)

    def generation(_, carry):
        key, state = carry
        key, ask, tell = jax.random.split(key, 3)
        x, state = strategy.ask(ask, state, params)
        state, _ = strategy.tell(tell, x, evaluate(x), state, params)
        return key, state

    run = jax.jit(lambda generations, carry: jax.lax.fori_loop(0, generations, generation, carry))
    key = jax.random.key(seed)
    start = jnp.asarray(_random_schemes(problem, population, seed), jnp.float32) + 0.5
    carry = [(key, strategy.init(key, start, jax.jit(evaluate)(start), params))]

    def advance(generations: int) -> float:
        carry[0] = run(generations, carry[0])
        return float(carry[0][1].best_fitness)

    return advance


PEERS: dict[str, Start] = {  # by library and, where there are several, algorithm
    "pymoo": pymoo,
    "DEAP": deap,
    "PyGAD": pygad,
    "pygmo sga": pygmo_sga,
    "pygmo gaco": pygmo_gaco,
    "pygmo pso_gen": pygmo_pso,
    "evosax SimpleGA": evosax_simple,
    "evosax MR15_GA": evosax_mr15,
}


class Progress(NamedTuple):
    """What a peer does with some CPU time."""

    seconds: float  # CPU, of one generation
    cost: float  # the best reached


def why_absent(name: str) -> str | None:
    """Say why a peer cannot run here, or None where it can."""
    module = name.lower().split()[0]
    return None if find_spec(module) else f"{module} is not installed"


def start(name: str, problem: sp.Problem, population: int, seed: int = 0) -> Advance:
    """Start a peer's search; one generation is run, so that compiling is not timed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        advance = PEERS[name](problem, population, seed)
        advance(1)
    return advance


def progress(advance: Advance, seconds: float) -> Progress:
    """Run a search for some CPU time."""
    generations, used, cost = 0, 0.0, advance(1)  # which may compile
    with no_garbage_collection():
        while used < seconds:
            more = max(1, generations)  # longer and longer, so that starting a run costs little
            began = time.process_time()
            cost = min(cost, advance(more))
            used, generations = used + time.process_time() - began, generations + more
    return Progress(used / generations, cost)


def main() -> None:
    """Print how far each peer gets in some CPU seconds, on one problem of the main family."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    one_thread()
    problem, population = family(64, 8), 1000
    best = best_plan(problem).cost
    plan = sp.solve(problem, "genetic", stop=sp.MaxRuntime(seconds), threads=1).plan
    print(f"stageplan: {plan.cost / best:.4f} of the optimum's cost after {seconds:g} s")
    searches = {"numba": NumbaGenetic(problem, population).advance}
    searches |= {name: start(name, problem, population) for name in PEERS if not why_absent(name)}
    for name, advance in searches.items():
        reached = progress(advance, seconds)
        rate = population / reached.seconds / 1000
        print(f"{name}: {reached.cost / best:.4f}, {rate:.4g} k children/s")


if __name__ == "__main__":
    main()
