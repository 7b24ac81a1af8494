"""The page `own-physics`: its functions are run, and reproduce what other planners have published."""

import re
from itertools import combinations, pairwise, product

import numpy as np
import pytest

import stageplan as sp

pytest.importorskip("numba")

from benchmarks.support import own_physics as peers

needs_data = pytest.mark.skipif(
    not peers.SHARED.is_dir(), reason=f"the published data are not at {peers.SHARED}"
)


def test_the_page_prints_what_it_says():
    said = re.findall(r"^print\(.*\)  # (.*)$", "".join(peers.blocks()), re.M)
    assert peers.page()[1].splitlines() == said


@needs_data
@pytest.mark.parametrize(("model", "devices"), peers.PIPEDREAM)
def test_pipedream_is_no_better(model, devices):
    """Its optimizer's answers, by its formula; of one cut of resnet18 it counts the bytes wrongly."""
    result = peers.solve_pipedream(peers.pipedream(model, devices))
    answer = peers.PIPEDREAM[model, devices].value
    assert result.proven
    assert result.plan.time <= answer * (1 + 1e-9)
    if (model, devices) != ("resnet18", 16):
        assert result.plan.time == pytest.approx(answer, rel=1e-9)


@needs_data
@pytest.mark.parametrize("name", ["bert24_inference", "bert24_training", "operators_bert_l-3_inference"])
def test_the_best_contiguous_split_has_the_published_load(name):
    result = peers.solve_load(peers.dnn_partitioning(name))
    assert result.plan.time == pytest.approx(peers.DNN_PARTITIONING[name].value, rel=1e-9)


@needs_data
def test_iterations_take_as_long_as_by_sailors_formula():
    runs = peers.sailor_runs()
    assert len(runs) == 18
    for run in runs:
        assert peers.iteration_of(run) == pytest.approx(run["sailor_formula_seconds"], rel=1e-12)


def splits(layers):
    """Yield the runs of layers of all splits."""
    for count in range(layers):
        for cuts in combinations(range(1, layers), count):
            ends = [0, *cuts, layers]
            yield [range(a, b) for a, b in pairwise(ends)]


def test_pipers_plan_is_the_best_of_all():
    """Every split, strategy and number of replicas, by the page's formula."""
    names, _ = peers.page()
    times, batch, best = names["times"], 16, np.inf
    degrees = (1, 2, 1)
    choices = [(c, r) for c in range(3) for r in (1, 2) if degrees[c] * r <= 8]  # a microbatch has 2 examples

    def stage(layers, c, r, flying):
        weights = len(layers) * 4.0 / degrees[c]
        kept = 0.5 if c == 2 else len(layers) * 2.0 / degrees[c]
        fits = weights + flying * 2 * kept / r <= 12.0
        return sum(times[layer, c] for layer in layers) / r, 2 * (r - 1) / r * weights / 50.0 / batch, fits

    for split in splits(4):
        for chosen in product(choices, repeat=len(split)):
            if sum(degrees[c] * r for c, r in chosen) > 8:
                continue
            count = len(split)
            placed = enumerate(zip(split, chosen, strict=True))
            of = [stage(x, c, r, min(count - i, 8)) for i, (x, (c, r)) in placed]
            if all(fits for _, _, fits in of):
                seconds = [time for time, _, _ in of]
                best = min(best, (7 * max(seconds) + sum(seconds)) / 8 + max(sync for _, sync, _ in of))
    assert names["training"].goal.split
    assert sp.solve(names["training"], "exact").plan.time == pytest.approx(best, rel=1e-9)


def test_helix_serves_the_most_tokens_of_all_splits():
    names, _ = peers.page()
    tokens, limits, best = names["TOKENS"], (2, 6), 0.0
    for split in splits(4):
        for types in product(range(2), repeat=len(split)):
            for devices in product(range(1, 7), repeat=len(split)):
                used = [sum(k for k, u in zip(devices, types, strict=True) if u == t) for t in range(2)]
                if all(n <= limit for n, limit in zip(used, limits, strict=True)):
                    rates = [tokens[t, len(x)] * k for x, t, k in zip(split, types, devices, strict=True)]
                    best = max(best, min(rates))
    assert names["plan"].throughput == pytest.approx(best, rel=1e-9)
