"""Faults planted in a generated project: the test script detects each, in the right case.

Those that change only numbers, and those of the server, are found in this process, by what the commands of
the cases measure.
"""

import json
import os
import re
import shutil
import signal
import socket
import sys
from dataclasses import replace
from importlib import metadata

import pytest
from asgi import client
from inside import imported
from processes import wait_for
from projects import RUN_ID, make_spec, write

from stageplan import cli
from stageplan.generate import BasicResult, EnvironmentReport, Spec, environment
from stageplan.generate.basic import cases_text, write_cases, write_project
from stageplan.generate.cases import Script
from stageplan.generate.digests import sha256
from stageplan.generate.extended import _write_files
from stageplan.generate.folders import owned
from stageplan.generate.results import TestResult as Verdicts
from stageplan.generate.results import artefacts_of, code_of, read_result, write_result
from stageplan.generate.target import target_of
from stageplan.readers.bounded import from_toml
from stageplan.readers.documents import build

for package in ("torch", "safetensors", "onnxruntime", "onnxscript", "fastapi", "uvicorn"):
    pytest.importorskip(package)

STEPS = ("pipeline", "quantize", "onnx", "server")
# The cut is between the two layers that share a weight, and the second stage has two processes.
STAGES = [
    {"type": "a", "layers": ["embedding", "block0"], "devices": 1},
    {"type": "b", "layers": ["block1", "head"], "devices": 2},
]
QUICK_THRESHOLD = 6.0  # perplexity; 8 tokens in no order have 8 or more


@pytest.fixture(scope="module")
def delivered(tmp_path_factory):
    """A directory with a small project, quickly trained, and with the files of extensions."""
    root = tmp_path_factory.mktemp("delivered")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    spec = Spec(
        name="net",
        task="causal-language-model",
        service={"input_shape": [12], "batch": 8, "model": {"width": 16, "vocabulary": 8}},
        training={"quick_steps": 60},
        environment={"reuse": sys.executable, "torch": metadata.version("torch")},
        hardware={"types": [{"name": "a", "price": 1.0}]},
        extend={"steps": STEPS, "server": {"port": port}},
    )
    target = target_of(spec, root, RUN_ID)
    with owned(root, RUN_ID):
        report = environment.prepare(spec, target, root)
    assert report.ok, str(report)
    project = root / "project"
    project.mkdir()
    write_project(spec, report, project)
    _write_files(spec, STEPS, project)
    plant(root, "config.json", '"quick_threshold": null', f'"quick_threshold": {QUICK_THRESHOLD}')
    (project / "plan.json").write_text(json.dumps({"stages": STAGES}))
    with pytest.MonkeyPatch.context() as patch, imported(project, patch, "train", "export") as modules:
        modules.train.train_and_save(modules.config, True)
        modules.export.export(modules.config, True)
    write_cases(spec, root, STEPS)
    write_result(root / "spec.json", spec)
    write_result(root / "environment.json", report)
    keep_manifest(root)
    return root


def case_of(name):
    """Return a case of the preset script by its name."""
    script = build(Script, from_toml(cases_text(make_spec(), STEPS).decode()))
    return next(case for case in script.case if case.name == name)


def failure(case, numbers):
    """Say what a case finds wrong in the numbers of its command."""
    return "; ".join(said for metric in case.metrics if (said := metric.failure(numbers[metric.name])))


def keep_manifest(root):
    project = root / "project"
    manifest = BasicResult(
        training="quick",
        config_sha256=sha256(project / "config.json"),
        artefacts=artefacts_of(project),
        files=code_of(project),
        cases_sha256=sha256(root / "cases.toml"),
        metrics={},
        versions={},
        seconds=0.0,
    )
    write_result(root / "manifest-basic.json", manifest)


@pytest.fixture
def directory(delivered, tmp_path):
    """A copy to plant a fault in."""
    shutil.copytree(delivered, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def tested(directory, monkeypatch, capsys):
    """Run some of the shipped cases, with a valid environment; return exit status and result."""

    def tested(*names, look=False, limit=300):
        if not look:
            monkeypatch.setattr(environment, "check_interpreter", lambda *_: ([], []))
        choose(directory / "cases.toml", names, limit)
        status = cli.main(["test", str(directory), "--mode", "quick"])
        result = read_result(directory / "test-result.json", Verdicts)
        assert ("not passed" in capsys.readouterr().out) is not result.passed
        return status, result

    return tested


def choose(path, names, limit):
    """Leave cases of these names, which then need nothing but the environment and integrity."""
    blocks = path.read_text().split("[[case]]\n")[1:]
    chosen = [block for block in blocks if re.match(r'name = "(.*)"', block)[1] in names]
    assert len(chosen) == len(names)
    text = "[[case]]\n" + "[[case]]\n".join(chosen)
    text = re.sub(r"^needs = .*$", 'needs = ["environment", "integrity"]', text, flags=re.M)
    path.write_text(re.sub(r"^time_limit = .*$", f"time_limit = {limit}", text, flags=re.M))


def plant(directory, file, old, new):
    path = directory / "project" / file
    text = path.read_text()
    assert text.count(old) == 1, f"{file} has {old!r} {text.count(old)} times"
    path.write_text(text.replace(old, new))


def test_cases_pass_without_a_fault(tested):
    names = ("train quickly", "evaluate quick training", "export", "quantize", "pipeline quickly")
    status, result = tested(*names, look=True)
    assert (status, str(result).count("PASS ")) == (0, 7), str(result)
    said = result.case("evaluate quick training").message
    assert re.fullmatch(r"perplexity is [\d.]+; it must be at most 6 \(quick_threshold\)", said)


def test_model_is_generated_and_passes_its_test(tmp_path, capfd):
    torch = metadata.version("torch")
    (tmp_path / "spec.toml").write_text(
        'name = "clicks"\ntask = "click-through-rate"\n'
        f"[environment]\nreuse = '{sys.executable}'\ntorch = '{torch}'\n"
    )
    status = cli.main(["generate", f"{tmp_path}/spec.toml", "-o", f"{tmp_path}/out", "--mode", "quick"])
    out, err = capfd.readouterr()
    assert (status, "test of clicks, quick: passed (6 PASS)" in out) == (0, True), out + err
    manifest = read_result(tmp_path / "out/manifest-basic.json", BasicResult)
    assert manifest.metrics["evaluate"]["auc"] > 0.8
    assert {artefact.path for artefact in manifest.artefacts} >= {
        "artefacts/model.safetensors",
        "artefacts/model.pt2",
        "artefacts/metrics/train.json",
    }


# Fault -> (file, what is there, what is planted, the case that finds it, its status, what it says).
FAULTS = {
    "syntax error in the network": (
        "network.py",
        "def loss(outputs: Tensor, targets: Tensor) -> Tensor:",
        "def loss(outputs: Tensor, targets: Tensor) -> Tensor",
        "train quickly",
        "FAIL",
        "train.py ended with exit status 1: SyntaxError: expected ':'",
    ),
    "loss is no number": (
        "network.py",
        "return cross_entropy(outputs.flatten(0, -2), targets.flatten())",
        "return cross_entropy(outputs.flatten(0, -2), targets.flatten()) * float('nan')",
        "train quickly",
        "FAIL",
        "train.py ended with exit status 1: train: ",
    ),
    "weights are not written": (
        "train.py",
        "            save_weights(module)\n",
        "",
        "train quickly",
        "FAIL",
        "artefacts/model.safetensors was not written",
    ),
    "training hangs": (
        "train.py",
        "        self.module.train(not settings.exact)\n",
        "        __import__('time').sleep(600)\n",
        "train quickly",
        "TIMEOUT",
        "train.py was stopped at its time limit, after 8",
    ),
    "training crashes": (
        "train.py",
        "        self.module.train(not settings.exact)\n",
        "        import ctypes; ctypes.string_at(0)\n",
        "train quickly",
        "ERROR",
        "train.py was ended by signal SIGSEGV",
    ),
    "stages are not those of the plan": (
        "pipeline.py",
        "    worker = Worker(config, stages, rank, steps)\n",
        "    all_ = sum((stage.layers for stage in stages), ())\n"
        "    stages = [Stage(stages[0].type, all_[:1], stages[0].ranks), "
        "Stage(stages[1].type, all_[1:], stages[1].ranks)]\n"
        "    worker = Worker(config, stages, rank, steps)\n",
        "pipeline quickly",
        "FAIL",
        "as_planned is 0 ",
    ),
    "weights of two stages are not tied": (
        "pipeline.py",
        "groups |= dict.fromkeys(tie, dist.new_group(holders))",
        "pass",
        "pipeline quickly",
        "FAIL",
        "largest_loss_difference is ",
    ),
    "server on another port": (
        "serve.py",
        '(where["host"], where["port"])',
        '(where["host"], 0)',
        "server",
        "FAIL",
        "ask_server.py ended with exit status 1: ask_server: the server listens on port ",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_in_the_code_fails_its_case(directory, tested, fault):
    file, old, new, name, status, message = FAULTS[fault]
    plant(directory, file, old, new)
    exit_status, result = tested(name, limit=8 if status == "TIMEOUT" else 300)
    assert exit_status == 1
    assert [case.name for case in result.cases if case.status != "PASS"] == [name]
    assert result.case(name).status == status, str(result)
    assert result.case(name).message.startswith(message), str(result)


# Fault -> (file, what is there, what is planted, the case that finds it, what it says).
NUMBER_FAULTS = {
    "wrong sign of the loss": (
        "network.py",
        "return cross_entropy(",
        "return -cross_entropy(",
        "train quickly",
        "loss_fall is -",
    ),
    "no step of the optimizer": (
        "train.py",
        "        self.scaler.step(self.optimizer)\n",
        "",
        "train quickly",
        "loss_fall is ",
    ),
    "examples that teach nothing": (
        "data.py",
        "pieces[:, 1:].contiguous()",
        "torch.randint(config.model.vocabulary, pieces[:, 1:].shape, generator=random)",
        "evaluate quick training",
        "margin is -",
    ),
    "export of other weights": (
        "export.py",
        "save_program(trace(config, service), PROGRAM)",
        "import common\n    other = Service(config, common.build(config)).eval()\n"
        "    save_program(trace(config, other), PROGRAM)",
        "export",
        "largest_difference is ",
    ),
    "quantised too coarsely": (
        "quantize.py",
        "LARGEST = 127",
        "LARGEST = 1",
        "quantize",
        "quality_loss is ",
    ),
    "ONNX model of other weights": (
        "onnx_export.py",
        "program = trace(exact, service)",
        "program = trace(exact, Service(exact, __import__('common').build(exact)).eval())",
        "onnx",
        "largest_difference is ",
    ),
}


@pytest.mark.filterwarnings("ignore")  # of PyTorch about itself
@pytest.mark.parametrize("fault", NUMBER_FAULTS)
def test_fault_that_changes_numbers_fails_its_case(directory, monkeypatch, fault):
    file, old, new, name, message = NUMBER_FAULTS[fault]
    plant(directory, file, old, new)
    case = case_of(name)
    command = case.command[0].removesuffix(".py")
    with imported(directory / "project", monkeypatch, "train", command) as modules:
        if command == "evaluate":
            modules.train.train_and_save(modules.config, True)
        function = "train_and_save" if command == "train" else command
        numbers = getattr(getattr(modules, command), function)(modules.config, True)
    assert failure(case, numbers).startswith(message)


CHANGED = ["artefacts/model.safetensors", "artefacts/model.pt2", "plan.json", "extended.json", "config.json"]


@pytest.mark.parametrize("file", CHANGED)
def test_changed_file_fails_integrity(directory, tested, file):
    path = directory / "project" / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    exit_status, result = tested("export")
    assert exit_status == 1
    assert {case.name: case.status for case in result.cases} == {
        "environment": "PASS",
        "integrity": "FAIL",
        "export": "SKIP",
    }
    assert result.case("integrity").message.startswith(f"{file} has ")


@pytest.mark.parametrize(
    ("environment_", "message"),
    [
        ({"requirements": ["no-such-package==1.0"]}, "package no-such-package is MISSING, none: "),
        ({"torch": "1.0.0"}, f"package torch is WRONG, {metadata.version('torch')}: "),
    ],
)
def test_missing_or_wrong_packages_fail_the_environment(directory, tested, environment_, message):
    spec = json.loads((directory / "spec.json").read_text())
    spec["environment"] |= environment_
    (directory / "spec.json").write_text(json.dumps(spec))
    exit_status, result = tested("export", look=True)
    assert exit_status == 1
    assert {case.name: case.status for case in result.cases} == {
        "environment": "FAIL",
        "integrity": "PASS",
        "export": "SKIP",
    }
    assert result.case("environment").message.startswith(message)


def test_missing_interpreter_fails_the_environment(directory, tested):
    report = read_result(directory / "environment.json", EnvironmentReport)
    write_result(directory / "environment.json", type(report)(**fields(report) | {"python": "/no/python"}))
    exit_status, result = tested("export", look=True)
    assert (exit_status, result.case("environment").status, result.case("export").status) == (
        1,
        "FAIL",
        "SKIP",
    )


def fields(struct):
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


def test_killed_case_is_an_error(directory, tested):
    """As the system does when memory runs out."""
    begun = directory / "begun"
    plant(
        directory,
        "train.py",
        "        self.module.train(not settings.exact)\n",
        f"        open({str(begun)!r}, 'w').write(str(__import__('os').getpid())); "
        "__import__('time').sleep(600)\n",
    )
    if not (child := os.fork()):
        try:
            number = wait_for(lambda: begun.exists() and begun.read_text())
            os.kill(int(number), signal.SIGKILL)
            os._exit(0)
        finally:  # in this process no test may go on
            os._exit(1)
    exit_status, result = tested("train quickly")
    assert os.waitpid(child, 0) == (child, 0)
    assert exit_status == 1
    assert result.case("train quickly").status == "ERROR"
    assert result.case("train quickly").message == "train.py was ended by signal SIGKILL"


# The server ---------------------------------------------------------------------------------------------

# Fault -> (file, what is there, what is planted, changed settings, the case that finds it, what it says).
SERVER_FAULTS = {
    "another network": (
        "serve.py",
        "program = load_program(config)",
        "program = __import__('export').Service(config, __import__('network').build(config.model, 7))",
        {},
        "server",
        "largest_difference is ",
    ),
    "outputs of another example": (
        "serve.py",
        "return program(*on).cpu()",
        "return program(*on).cpu().roll(1, 0)",
        {},
        "server",
        "largest_difference is ",
    ),
    "exchanged answers of requests that ran together": (
        "batching.py",
        "zip(jobs, outputs.split([len(job) for job in jobs]), strict=True)",
        "zip(jobs, reversed(outputs.split([len(job) for job in jobs])), strict=True)",
        {"batch_window": 0.05},
        "server",
        "batch_difference is ",
    ),
    "the least likely tokens": (
        "formats.py",
        "[place, lengths - 1].argmax(-1)",
        "[place, lengths - 1].argmin(-1)",
        {},
        "server",
        "answer_difference is ",
    ),
    "tokens that follow the padding": (
        "formats.py",
        "predict(tokens)[place, lengths - 1]",
        "predict(tokens)[:, -1]",
        {},
        "server",
        "answer_difference is ",
    ),
    "too few tokens": (
        "formats.py",
        "kept = [added[:count] for",
        "kept = [added[: count - 1] for",
        {},
        "server",
        "answer_difference is inf; it must be finite",
    ),
    "chances in place of text": (
        "serve.py",
        "if self.config.task == MODEL:",
        "if self.config.task == TEXT:",
        {},
        "server",
        "the server answered a valid question with status 422: ",
    ),
    "answers that never come": (
        "batching.py",
        "            job.outputs.set_result(part)",
        "            pass",
        {"max_seconds": 0.2},
        "server",
        "the server answered a valid request with status 504: {'detail': 'the request took more than 0.2 s",
    ),
    "an error in the server": (
        "serve.py",
        "        parts, size = [], 0",
        "        parts, size = [], request.nothing",
        {},
        "server",
        "the server answered a valid request with status 500: {'detail': 'the server failed'}",
    ),
    "nonsense answered with success": (
        "serve.py",
        "return 422, _detail(str(error))",
        "return 200, _detail(str(error))",
        {},
        "server",
        "nonsense_accepted is ",
    ),
    "nonsense refused without a sentence": (
        "serve.py",
        "return 422, _detail(str(error))",
        "return 422, {}",
        {},
        "server",
        "nonsense_accepted is ",
    ),
    "true taken for a number": (
        "formats.py",
        "if isinstance(values, bool) or not isinstance(values, allowed)",
        "if not isinstance(values, allowed)",
        {},
        "server",
        "nonsense_accepted is 1 ",
    ),
    "deep nesting": (
        "formats.py",
        "except RecursionError:",
        "except ZeroDivisionError:",
        {},
        "server",
        "nonsense_accepted is 2 ",
    ),
    "no limit of bodies": (
        "serve.py",
        "if size > self.limits.max_body:",
        "if size < 0:",
        {},
        "server",
        "too_large_status is 422 ",
    ),
    "health without inference": (
        "serve.py",
        'await asyncio.wait_for(answers.outputs("predict", *patterns), limits.max_seconds)',
        "pass",
        {},
        "server",
        "health_inferences is 0 ",
    ),
    "never healthy": (
        "serve.py",
        "return to_response(200, ready)",
        "return to_response(503, ready)",
        {},
        "server",
        "health_status is 503 ",
    ),
    "failures not counted": (
        "counters.py",
        "if status >= 400",
        "if status >= 600",
        {},
        "server",
        "counted_failures is 0 ",
    ),
    "a damaged program": (
        "artefacts/model.pt2.sha256",
        "  model.pt2",
        "0  model.pt2",
        {},
        "server",
        "artefacts/model.pt2 is not opened: it has another checksum than in artefacts/model.pt2.sha256",
    ),
    "too few requests at a time": (
        "serve.py",
        "limits.max_concurrent:",
        "1:",
        {},
        "server load",
        "failures is ",
    ),
    "too slow for max_latency": (
        "config.json",
        '"max_latency": null',
        '"max_latency": 1e-9',
        {},
        "server load",
        "latency_met is 0 ",
    ),
    "too slow for min_throughput": (
        "config.json",
        '"min_throughput": null',
        '"min_throughput": 1e9',
        {},
        "server load",
        "throughput_met is 0 ",
    ),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A directory with a small project whose untrained network is exported."""
    root = tmp_path_factory.mktemp("exported")
    service = {"input_shape": [12], "batch": 8, "model": {"width": 16, "vocabulary": 8}}
    folder = write(root / "project", make_spec(service=service))
    with pytest.MonkeyPatch.context() as patch, imported(folder, patch, "export") as modules:
        modules.common.save_weights(modules.common.build(modules.config))
        modules.export.export(modules.config, True)
    return root


def judged(root, monkeypatch, name, **settings):
    """Serve and measure as the command of a case; say what is wrong."""
    module, function = ("ask_server", "examine") if name == "server" else ("load_server", "load")
    with imported(root / "project", monkeypatch, "serve", "ask_server", "load_server") as modules:
        known = modules.common.settings
        monkeypatch.setattr(modules.serve, "settings", lambda table: known(table) | settings)
        try:
            with client(modules.serve.make_app(modules.config)) as ask:

                def send(method, path, body=None, type_="application/json"):
                    status, _, values = ask(method, path, body, type_)
                    return modules.ask_server.Reply(status, values) if name == "server" else status

                numbers = getattr(getattr(modules, module), function)(modules.config, send, True)
            modules.common._refuse_infinite(numbers)
        except (OSError, RuntimeError, ValueError) as error:  # of which a command makes one sentence
            return str(error)
    return failure(case_of(name), numbers)


@pytest.mark.parametrize("name", ["server", "server load"])
def test_server_passes_without_a_fault(exported, monkeypatch, name):
    assert judged(exported, monkeypatch, name) == ""


def test_server_of_a_variant_answers_as_that_does(exported, tmp_path, monkeypatch):
    shutil.copytree(exported, tmp_path / "copy")
    folder = tmp_path / "copy/project"
    settings = json.loads((folder / "extended.json").read_bytes())
    settings["server"]["variant"] = "distilled"
    (folder / "extended.json").write_text(json.dumps(settings))
    with imported(folder, monkeypatch, "export", "variants") as modules:
        other = modules.common.build(replace(modules.config, seed=6))
        modules.variants.export_variant(
            modules.config, "distilled", modules.export.Service(modules.config, other)
        )
    assert judged(tmp_path / "copy", monkeypatch, "server") == ""
    plant(tmp_path / "copy", "serve.py", "load_variant(config, variant)", "load_program(config)")
    assert judged(tmp_path / "copy", monkeypatch, "server").startswith("largest_difference is ")


@pytest.mark.parametrize("fault", SERVER_FAULTS)
def test_fault_of_the_server_fails_its_case(exported, tmp_path, monkeypatch, fault):
    file, old, new, settings, name, message = SERVER_FAULTS[fault]
    shutil.copytree(exported, tmp_path / "copy")
    plant(tmp_path / "copy", file, old, new)
    said = judged(tmp_path / "copy", monkeypatch, name, **settings)
    assert said.startswith(message) or f"; {message}" in said, said


def test_forty_kinds_of_faults_are_planted():
    others = 2 + 1 + 1  # packages, the interpreter, a killed command
    assert len(FAULTS) + len(NUMBER_FAULTS) + len(CHANGED) + len(SERVER_FAULTS) + others >= 44
