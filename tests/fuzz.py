"""Fuzz every reader and entry point: ``python tests/fuzz.py --minutes 60``.

An input that fails (a traceback, an error of another kind or of several lines, more than 10 s of CPU time or
2 GB of memory) is kept in ``--failures``; ``--replay FILE`` runs it again. The same seed makes the same
inputs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fuzzing import runner
from fuzzing.targets import TARGETS


def main() -> int:
    """Run the fuzzer; the exit status is 1 if an input fails."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--inputs", type=int, default=0, metavar="N", help="inputs to run; default: 2000, or until --minutes")
    add("--minutes", type=float, default=0.0, metavar="M", help="how long to run")
    add("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    names = [target.name for target in TARGETS]
    add(
        "--target",
        action="append",
        choices=names,
        metavar="NAME",
        help=f"one of {', '.join(names)}; default: all",
    )
    add("--failures", type=Path, default=Path("fuzz-failures"), metavar="DIR", help="default: %(default)s")
    add("--replay", type=Path, metavar="FILE", help="run an input that was kept")
    arguments = parser.parse_args()
    if arguments.replay is not None:
        outcome = runner.replay(TARGETS, arguments.replay)
        print(outcome.get("trace", ""), outcome.get("failure", "no failure"), sep="\n")
        return int("failure" in outcome)
    rows = runner.fuzz_all(
        [target for target in TARGETS if target.name in (arguments.target or names)],
        arguments.seed,
        inputs=arguments.inputs,
        minutes=arguments.minutes,
        folder=arguments.failures,
    )
    print(runner.table(rows))
    return int(any(row.failures for row in rows))


if __name__ == "__main__":
    sys.exit(main())
