import multiprocessing
import signal

import pytest

import stageplan as sp
from stageplan.cli import main
from stageplan.profiling.check import _start

torch = pytest.importorskip("torch")

from networks import Stack, Uneven  # noqa: E402

# Of the stages' own pickles, and of torch.export in itself.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")

NAMES = ("stem", "blocks.0", "blocks.1", "blocks.2", "norm", "out")


def plan_of(names, cut, seconds=1e-3, devices=1):
    layers = [sp.Layer(name=name, compute={"here": seconds}) for name in names]
    cluster = sp.Cluster(name="here", types=[sp.DeviceType(name="here", price=1, limit=4)])
    goal = sp.Goal(objective="throughput", split=True, max_devices_per_stage=devices)
    problem = sp.Problem(sp.Workload(name="net", layers=layers), cluster, goal)
    return sp.Plan.of(problem, [0] * cut + [1] * (len(names) - cut))


def test_a_pipeline_runs_beside_its_prediction():
    plan = plan_of(NAMES, 3)
    found = sp.check(plan, Stack(), torch.rand(3, 4), mode="inference", steps=2, max_seconds=300)
    assert (found.plan, found.batch, found.microbatches) == (plan, 3, 8)
    assert found.stage_predicted == (3e-3, 3e-3)
    assert found.predicted == pytest.approx(8 / (2 * 3e-3 + 7 * 3e-3))  # through both stages, then seven more
    assert 0 < found.measured <= 1.5 * found.by_cpu_time
    first, second = found.stage_measured
    assert found.by_cpu_time == pytest.approx(8 / (first + second + 7 * max(first, second)))
    assert f"predicted / measured = {found.predicted / found.measured:.3f}" in str(found)
    assert "  stem..blocks.1: predicted 3 ms an example, took " in str(found)
    assert multiprocessing.active_children() == []


LAYERS = [f"layers.{i}" for i in range(5)]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("networks:failing", r"the process of stage [12] failed: .*: a stage of mine fails"),
        ("networks:dying", r"the process of stage [12] failed: exit status -9"),
    ],
)
def test_a_process_that_fails_ends_all(model, words):
    with pytest.raises(ChildProcessError, match=words):
        sp.check(plan_of(LAYERS, 2), model, max_seconds=300)
    assert multiprocessing.active_children() == []


def test_processes_that_hang_are_ended():
    with pytest.raises(
        TimeoutError, match="max_seconds is over before the pipeline has run; it must be more"
    ):
        sp.check(plan_of(LAYERS, 2), "networks:hanging", max_seconds=1)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("plan", "options", "error", "words"),
    [
        (3, {}, TypeError, "plan is int; it must be a Plan"),
        (None, {"mode": "eval"}, ValueError, "mode is 'eval'; it must be one of"),
        (None, {"mode": "decode"}, ValueError, "mode is 'decode'; it must be one of 'train', 'inference'"),
        (None, {"microbatches": 1}, ValueError, "microbatches is 1; it must be a whole number, at least 2"),
        (None, {"steps": 0}, ValueError, "steps is 0; it must be a whole number, at least 1"),
        (None, {"max_seconds": 0}, ValueError, "max_seconds is 0; it must be a finite number, more than 0"),
        (None, {"example": None}, ValueError, "example is None; it must be what the module is called with"),
    ],
)
def test_wrong_arguments_are_refused(plan, options, error, words):
    arguments = {"model": Uneven(), "example": torch.rand(3, 8)} | options
    with pytest.raises(error, match=words):
        sp.check(plan_of(NAMES, 3) if plan is None else plan, **arguments)


def test_a_module_on_another_device_is_refused():
    with pytest.raises(
        ValueError, match="model has weights on meta; they must be on cpu, where it is to run"
    ):
        sp.check(plan_of(NAMES, 3), Stack().to("meta"), torch.rand(3, 4))


def test_stages_with_several_devices_are_refused():
    plan = plan_of(NAMES, 3, devices=2)
    assert plan.stages[0].devices == 2
    with pytest.raises(ValueError, match="plan has 2 devices in stage 1; each stage must have 1 here"):
        sp.check(plan, Stack(), torch.rand(3, 4))


ARGUMENTS = ["profile", "networks:uneven", "--measure", "cpu", "--max-spread", "100", "--repeats", "8"]


def test_the_best_two_stages_from_the_command_line(capfd):
    assert main([*ARGUMENTS, "--check", "--max-seconds", "300"]) == 0
    text = capfd.readouterr().out
    assert "\nran 2 stages here, a process each: 8 microbatches of 4 examples\n" in text
    assert "predicted / by CPU time = " in text


@pytest.fixture
def saved(tmp_path, capsys):
    """A plan's file, for other devices, in two stages."""
    workload, path = tmp_path / "w.json", tmp_path / "plan.json"
    devices = ["--device", "t4", "--device", "a100-80g"]
    assert main(["profile", "networks:uneven", *devices, "-o", str(workload)]) == 0
    limits = ["--device", "t4:1", "--device", "a100-80g:1", "--objective", "throughput"]
    assert main(["score", str(workload), str(_scheme(tmp_path)), *limits, "-o", str(path)]) == 0
    capsys.readouterr()
    return path


def _scheme(folder):
    path = folder / "scheme.json"
    path.write_text('{"scheme": [0, 1, 1, 1, 1]}')
    return path


def test_the_stages_of_a_plan_from_the_command_line(saved, monkeypatch, capsys):
    ran = []
    monkeypatch.setattr(
        "stageplan.cli.profile.check", lambda *args, **kwargs: ran.append((args, kwargs)) or "ran"
    )
    flags = ["--check", str(saved), "--microbatches", "5", "--mode", "inference", "-o", "-"]
    assert main([*ARGUMENTS, *flags]) == 0
    out, err = capsys.readouterr()
    assert err.splitlines()[1:] == ["ran"]
    assert out.startswith("{")
    [((plan, model), options)] = ran
    assert [(stage.layers, stage.type) for stage in plan.stages] == [((0,), "cpu"), ((1, 2, 3, 4), "cpu")]
    assert (model, options["microbatches"], options["mode"]) == ("networks:uneven", 5, "inference")


def test_errors_of_the_command_line(tmp_path, capsys):
    assert main(["profile", "networks:uneven", "--device", "t4", "--check"]) == 2
    assert capsys.readouterr().err == (
        "stageplan: error: --check compares with what is measured here; --measure must be given\n"
    )
    path = tmp_path / "plan.json"
    assert main(["plan", "ctr", "-o", str(path)]) == 0
    capsys.readouterr()
    assert main([*ARGUMENTS, "--check", str(path)]) == 2
    assert "--check is a plan for another model; its layers must be those" in capsys.readouterr().err
    assert main([*ARGUMENTS, "--check", "--microbatches", "1"]) == 2
    assert "--microbatches is 1; it must be a whole number, at least 2" in capsys.readouterr().err


def test_an_interrupt_does_not_reach_the_stages():
    """Which would else all say where they were; the process that started them ends them."""
    context = multiprocessing.get_context("spawn")
    stages = [context.Process(target=signal.raise_signal, args=(signal.SIGINT,)) for _ in range(2)]
    _start(stages)
    for stage in stages:
        stage.join()
    assert [stage.exitcode for stage in stages] == [0, 0]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
