"""Processes of `pipeline_worker`, one a rank."""

import json
import os
import subprocess
import sys
from pathlib import Path

import stageplan as sp


def run_workers(folder, replicas):
    """Losses that each rank wrote."""
    worker = Path(__file__).with_name("pipeline_worker.py")
    source = Path(sp.__file__).parents[1]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(source), str(worker.parent)]),
    }
    folder.mkdir()
    argv = [[sys.executable, worker, str(rank), folder, str(replicas)] for rank in range(2 * replicas)]
    ranks = [subprocess.Popen(a, env=environment, stderr=subprocess.PIPE, text=True) for a in argv]
    try:
        errors = [rank.communicate(timeout=240)[1] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    assert [rank.returncode for rank in ranks] == [0] * len(ranks), "\n".join(errors)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(len(ranks))]
