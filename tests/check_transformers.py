"""Profile every model type that the installed transformers lists; run by hand.

    python tests/check_transformers.py [--mode train|inference] [--types TYPE,...] [--output FILE]

Does what ``stageplan profile hf:TYPE`` does, for a type's default configuration on the meta device: nothing
is downloaded.  Each type runs in a process of its own with bounds on time and memory.  The parameters of
its workload are compared with those of the network: where they differ by more than 1 %, a note has to say
what was left out.  Prints the counts; exit status 1 where parameters differ without a note, an error is not a
sentence, or a process dies.
"""

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import resource
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import torch
from transformers import CONFIG_MAPPING

import stageplan as sp
from stageplan.profiling import huggingface

SECONDS = 600  # of CPU time for a type
PATIENCE = 3600  # seconds on the clock for a type
MEMORY = 12 * 2**30  # bytes of data for a type
TOLERANCE = 0.01
GOOD = ("read", "read with a note", "refused")


def outcome(type_, mode):
    """(what became of a type, details) of profiling it; `GOOD`, or what is wrong."""
    built = []
    build = huggingface.build
    huggingface.build = lambda *args: built.append(build(*args)) or built[-1]
    try:
        workload = sp.profile(f"hf:{type_}", devices=["a100-80g"], mode=mode)
    except (ValueError, ImportError) as error:  # what the command line turns into a sentence
        return ("refused" if "\n" not in str(error) else "several lines"), str(error)
    except Exception:
        return "traceback", traceback.format_exc()
    own = sum(weight.numel() * weight.element_size() for weight in built[0].parameters())
    missing = 1 - sum(layer.parameters for layer in workload.layers) / own
    if abs(missing) > TOLERANCE and not workload.notes:
        return "parameters differ", f"{missing:.1%} of {own / 1e6:.4g} MB missing, no note"
    details = f"{len(workload.layers)} layers, {missing:.1%} of {own / 1e6:.4g} MB missing"
    return ("read with a note" if workload.notes else "read"), "; ".join((details, *workload.notes))


def work(type_, mode, connection):
    """Profile a type in this process, within the bounds, and send the outcome."""
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        found = outcome(type_, mode)
    connection.send(found)


def run(type_, mode):
    """Profile a type in another process; return the outcome."""
    context = multiprocessing.get_context("fork")  # which has torch and transformers already
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(type_, mode, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(PATIENCE) else ("hangs", f"after {PATIENCE} s")
    except EOFError:
        process.join()
        return "dies", f"exit status {process.exitcode}"
    finally:
        process.kill()
        process.join()


def main():
    parser = argparse.ArgumentParser(description="Profile every model type of transformers.")
    parser.add_argument("--mode", choices=("train", "inference"), default="train")
    parser.add_argument("--types", type=lambda text: text.split(","), default=list(CONFIG_MAPPING.keys()))
    parser.add_argument("--output", type=Path, help="write each type's outcome, a line of JSON each")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    outcome("gpt2", arguments.mode)  # imports what all need, before the processes are forked
    counts = Counter()
    with open(arguments.output or os.devnull, "w", encoding="utf-8") as lines:
        for type_ in arguments.types:
            start = time.monotonic()
            what, details = run(type_, arguments.mode)
            counts[what] += 1
            seconds = round(time.monotonic() - start, 1)
            print(json.dumps([type_, what, seconds, details]), file=lines, flush=True)
            if what not in GOOD:
                print(f"{type_}: {what}: {details}", flush=True)
    print(f"{len(arguments.types)} types: " + ", ".join(f"{count} {what}" for what, count in counts.items()))
    return int(any(what not in GOOD for what in counts))


if __name__ == "__main__":
    sys.exit(main())
