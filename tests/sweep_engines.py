"""Runs a small sweep on an engine: ``python sweep_engines.py ENGINE DIRECTORY``."""

import sys
from pathlib import Path

from small_sweeps import contents, made, write_files

import stageplan as sp
from stageplan import cli


def check_islands(engine):
    """Islands of a genetic search have the same result on the engine as in this process."""
    problem = sp.Problem.from_arrays([[2, 1], [1, 1.5], [3, 1]], price=[1, 2], min_throughput=1)
    here, there = (
        sp.solve(problem, "genetic", islands=3, population=4, stop=sp.MaxGenerations(2), executor=on)
        for on in (None, engine)
    )
    assert there.plan.scheme.tobytes() == here.plan.scheme.tobytes()
    assert (there.evaluations, there.work) == (here.evaluations, here.work)


def on_mpi(directory):
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor() as executor:
        sp.sweep(made(), directory, executor=executor)
        check_islands(executor)


def on_dask(directory):
    import dask
    from distributed import Client, LocalCluster

    dask.config.set({"distributed.admin.system-monitor.gil.enabled": False})
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        sp.sweep(made(), directory, executor=client)
        check_islands(client)
        write_files(directory.parent)
        file, other = directory.parent / "sweep.toml", directory.parent / "by-command"
        assert cli.main(["sweep", str(file), "-o", str(other), "--dask", cluster.scheduler_address]) == 0
        assert len(contents(other)) == 4


def on_submitit(directory):
    import submitit

    executor = submitit.LocalExecutor(directory.parent / "jobs")
    executor.update_parameters(timeout_min=5)
    jobs = [executor.submit(sp.sweep, made(), directory, shard=(i, 2)) for i in (1, 2)]
    assert sum(job.result().done for job in jobs) == 4


if __name__ == "__main__":
    {"mpi": on_mpi, "dask": on_dask, "submitit": on_submitit}[sys.argv[1]](Path(sys.argv[2]))
