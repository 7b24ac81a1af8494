"""Compile a generated network to native code, and call it from C++; run by hand.

    python tests/check_native_code.py [--task TASK]

Trains a small network briefly, exports it, runs ``aot.py`` of its project, and then plants a fault in the C++
program that the comparison has to find. Takes about two minutes of a processor. Exit status 1 where outputs
differ, or the fault is not found.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from projects import TASKS, drive, make_spec, write

TOLERANCE = 1e-4
BRIEF = {"train": {"quick_steps": 5}}
RUN = "package.run(inputs);  // loads code"
FAULT = f"{RUN}\n  for (at::Tensor& input : inputs) input.zero_();"


def made(folder, task):
    """Make a project with an exported network."""
    write(folder, make_spec(task))
    drive(folder, ["train", "train_and_save", BRIEF, True], ["export", "export", {}, True])
    return folder


def compiled(folder):
    """Return the numbers of ``aot.py``; its error where it fails."""
    return drive(folder, ["aot", "aot", {}, True], limit=1200)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=TASKS, default="click-through-rate")
    with tempfile.TemporaryDirectory() as where:
        folder = made(Path(where) / "project", parser.parse_args().task)
        numbers = compiled(folder)
        print(numbers)
        differences = [numbers["largest_difference"], numbers["caller_difference"]]
        source = folder / "caller.cpp"
        text = source.read_text()
        assert RUN in text
        source.write_text(text.replace(RUN, FAULT))
        found = compiled(folder)["caller_difference"]
        print(f"with inputs of zeros in C++: {found}")
    return int(max(differences) > TOLERANCE or found <= TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
