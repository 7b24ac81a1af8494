"""Print what a call of the C API takes beside the same native work without it.

python -m benchmarks.tables.capi
"""

from collections.abc import Callable
from functools import partial

from benchmarks.support.instances import POPULATIONS, family
from benchmarks.support.measure import compare
from stageplan import _core, capi

ROUNDS = 101
SECONDS = 0.01  # of CPU, of each piece of work in each round

NOTES = """\
CPU time of one call, medians of the rounds, in turns and in one run.
One scheme: at a target, by a handle, over the kernel that scores blocks.
Whole solve: a problem made from its arrays, solved exactly, its plan read, and freed, over the same in
the core: made, solved, and its plan provisioned."""


def one_scheme(L: int, T: int) -> tuple[Callable[[], object], Callable[[], object], int]:
    """Score one scheme of the main family, many times: through the API, by the kernel."""
    problem, schemes = family(L, T), POPULATIONS["evolved"](L, T, 1)
    handles, repeats = capi.Handles(problem, target=1.0), 10_000

    def by_api() -> object:
        return _core.testing.score_repeatedly_by_capi(handles.scorer, schemes[0], repeats)

    return by_api, partial(_core.testing.score_repeatedly, problem.scorer(1.0), schemes[0], repeats), repeats


def whole_solve(L: int, T: int) -> tuple[Callable[[], object], Callable[[], object], int]:
    """Solve one problem of the main family exactly, many times: through the API, and without it."""
    core, repeats = family(L, T).core, 500
    by_api = partial(_core.testing.solve_repeatedly_by_capi, core, repeats)
    return by_api, partial(_core.testing.solve_repeatedly, core, repeats), repeats


def main() -> None:
    """Print the table."""
    rows = {
        "one scheme, 12 x 3": (*one_scheme(12, 3), "<= 100 ns"),
        "one scheme, 64 x 8": (*one_scheme(64, 8), "<= 100 ns"),
        "whole exact solve, 12 x 3": (*whole_solve(12, 3), "<= 2,000 ns"),
    }
    print(f"{'':26}{'C API':>12}{'native':>12}{'overhead':>12}   reach")
    for name, (ours, native, repeats, reach) in rows.items():
        pair = compare(ours, native, ROUNDS, SECONDS)
        api, alone = (seconds / repeats * 1e9 for seconds in pair[:2])
        print(f"{name:26}{api:9,.0f} ns{alone:9,.0f} ns{api - alone:9,.0f} ns   {reach}")
    print(NOTES)


if __name__ == "__main__":
    main()
