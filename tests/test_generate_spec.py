"""The specification: accepted fields, defaults, and error messages."""

import msgspec
import pytest

from stageplan import DeviceType
from stageplan.generate import Spec, read_spec
from stageplan.generate.extensions import EXTENSIONS
from stageplan.generate.spec import TASKS

SMALL = """
name = "net"
task = "text-classification"
"""


@pytest.fixture
def spec(tmp_path):
    """Read a specification of this text."""

    def spec(text):
        (tmp_path / "spec.toml").write_text(text)
        return read_spec(tmp_path / "spec.toml")

    return spec


def test_smallest_specification_has_the_defaults_of_its_task(spec):
    made = spec(SMALL)
    assert made == Spec(name="net", task="text-classification")
    assert (made.service.input_shape, made.service.metric) == ((32,), "accuracy")
    assert (made.target, made.environment.torch, made.extend.server.host) == ("local", "2.13.0", "127.0.0.1")


def test_every_field_is_read(spec):
    made = spec(
        """
name = "net"
task = "click-through-rate"
target = "ssh:me@example.org:2222"
seed = 7
[service]
model = { preset = "small", layers = 3, width = 32, heads = 4, vocabulary = 100 }
input_shape = [4, 6]
batch = 32
precision = "bfloat16"
metric = "loss"
threshold = 0.5
max_latency = 0.1
min_throughput = 100
[hardware]
cores = 2
memory = 1e9
instruction_sets = ["avx2"]
accelerators = 1
accelerator_memory = 8e9
driver = "550.54"
types = [{ name = "cpu", price = 1.0, limit = 2, capacity = 1e9 }]
[environment]
reuse = "/venv"
torch = "2.13.0+cpu"
requirements = ["numpy==2.4.6"]
index = "https://example.org/simple"
[training]
steps = 10
schedule = "cosine"
warm_up_steps = 3
clip_norm = 1
micro_batches = 4
validate_every = 5
patience = 3
checkpoint_every = 100
checkpoint_parts = 2
tensorboard = true
[data]
file = "clicks.csv"
[extend]
steps = ["pipeline", "onnx"]
pipeline = { method = "exact", microbatches = 2 }
server = { port = 8080 }
[ssh]
config = "ssh_config"
directory = "work"
"""
    )
    assert made.hardware.types == (DeviceType(name="cpu", price=1.0, limit=2, capacity=1e9),)
    assert made.service.model.width == 32
    assert made.extend.pipeline.method == "exact"
    assert made.environment.reuse == "/venv"


def test_paths_are_relative_to_the_file(spec, tmp_path):
    made = spec(
        f"""{SMALL}
environment = {{ reuse = "venv" }}
data = {{ file = "a/b.csv" }}
ssh = {{ config = "/etc/ssh_config" }}
extend = {{ pipeline = {{ plan = "plan.json" }} }}
"""
    )
    assert made.environment.reuse == str(tmp_path / "venv")
    assert made.data.file == str(tmp_path / "a/b.csv")
    assert made.extend.pipeline.plan == str(tmp_path / "plan.json")
    assert made.ssh.config == "/etc/ssh_config"


def test_paths_of_an_ssh_target_are_not_changed(spec):
    made = spec(f'{SMALL}target = "ssh:host"\nenvironment = {{ reuse = "venv" }}')
    assert made.environment.reuse == "venv"


def test_target_argument_replaces_the_files(spec, tmp_path):
    spec(f'{SMALL}environment = {{ reuse = "venv" }}')
    assert read_spec(tmp_path / "spec.toml", "ssh:host").environment.reuse == "venv"
    assert read_spec(tmp_path / "spec.toml", "local").environment.reuse == str(tmp_path / "venv")
    with pytest.raises(ValueError, match=r"^target is 'moon'; it must be "):
        read_spec(tmp_path / "spec.toml", "moon")


def test_written_specification_is_read_back(spec, tmp_path):
    made = spec(f'{SMALL}extend = {{ steps = ["prune"] }}')
    (tmp_path / "spec.json").write_bytes(msgspec.json.encode(made))
    assert read_spec(tmp_path / "spec.json") == made


@pytest.mark.parametrize("task", TASKS)
def test_all_tasks_and_extensions_are_known(task):
    types = (DeviceType(name="cpu", price=1.0),)
    made = Spec(name="a", task=task, hardware={"types": types}, extend={"steps": EXTENSIONS})
    assert made.service.metric is not None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('name = "a"', "task is missing; it must be one of 'causal-language-model', "),
        ('name = "a"\ntask = "chess"', "task is 'chess'; it must be one of 'causal-language-model', "),
        ('name = "a b"\ntask = "text-classification"', "name is 'a b'; it must be 1 to 64 letters, "),
        (SMALL + "speed = 1", "speed is not a known field; it must be one of name, task, "),
        (SMALL + 'target = "ssh:-oProxyCommand=x"', "target is 'ssh:-oProxyCommand=x'; it must be 'local', "),
        (SMALL + 'target = "ssh:me@host;ls"', "target is 'ssh:me@host;ls'; it must be 'local', "),
        (SMALL + "[service]\nbatch = 0", "service.batch is 0; it must be a whole number from 1 to 2**20"),
        (SMALL + "[service]\nbatch = 'x'", "service.batch is 'x'; it must be a whole number from 1 to 2**20"),
        (SMALL + "[service]\nmetric = 'auc'", "service.metric is 'auc'; for text-classification it must be "),
        (
            SMALL + "[service]\nthreshold = 1.01",
            "service.threshold is 1.01; for accuracy it must be a fraction from 0 to 1",
        ),
        (
            'name = "a"\ntask = "causal-language-model"\n[service]\nthreshold = 0.9',
            "service.threshold is 0.9; for perplexity it must be 1 or more",
        ),
        (
            SMALL + "[service]\ninput_shape = [3, 4]",
            "service.input_shape is [3, 4]; for text-classification ",
        ),
        (
            SMALL + "[service]\nmodel = { width = 30, heads = 4 }",
            "service.model.heads is 4; it must divide width",
        ),
        (SMALL + "[hardware]\nmemory = -1", "hardware.memory is -1; it must be 0 or more bytes and finite"),
        (SMALL + "[hardware]\ndevice = 'tpu'", "hardware.device is 'tpu'; it must be 'cpu' or 'cuda'"),
        (
            SMALL + "[environment]\nrequirements = ['a>=1']",
            "environment.requirements[0] is 'a>=1'; requirements must be a list of 'name==version'",
        ),
        (SMALL + "[environment]\nrequirements = ['--pre==1']", "environment.requirements[0] is '--pre==1'; "),
        (SMALL + "[environment]\nindex = 'x'", "environment.index is 'x'; it must be a URL that begins "),
        (SMALL + "[extend]\nsteps = ['fly']", "extend.steps[0] is 'fly'; steps must be a list of any of "),
        (SMALL + "[extend]\nsparsity = 1", "extend.sparsity is 1; it must be a fraction between 0 and 1"),
        (SMALL + "[extend]\nsteps = ['pipeline']", "hardware.types is empty; to plan a pipeline it must be "),
        (SMALL + "[extend]\nsteps = ['replicas']", "hardware.types is empty; to plan a pipeline it must be "),
        (
            SMALL + "[extend]\nsteps = ['accumulation']\naccumulation = 3",
            "extend.accumulation is 3; it must divide service.batch, 16",
        ),
        (
            SMALL + "[extend.server]\nmax_body = 10",
            "extend.server.max_body is 10; it must be a whole number of bytes from 1024 to 2**31 - 1",
        ),
        (
            SMALL + "[extend.server]\nvariant = 'int8'",
            "extend.server.variant is 'int8'; then extend.steps must have 'int8', which makes it",
        ),
        (
            SMALL + "[service]\nprecision = 'bfloat16'\n[extend.server]\nvariant = 'float32'",
            "extend.server.variant is 'float32'; service.precision is 'bfloat16', and so it must be absent",
        ),
        (
            SMALL + "[service]\nprecision = 'bfloat16'\n[extend]\nsteps = ['bfloat16']",
            "extend.steps has 'bfloat16'; service.precision is 'bfloat16' already",
        ),
        (SMALL + "[extend]\nsteps = ['stages']", "hardware.types is empty; to plan a pipeline it must be "),
        (SMALL + "[extend]\nchannels = 1", "extend.channels is 1; it must be a fraction between 0 and 1"),
        (
            SMALL + "[service]\nmodel = { factory = 'a:b', vocabulary = 9, classes = 2 }\n"
            "[extend]\nsteps = ['distill']",
            "extend.steps has 'distill'; with service.model.factory it must have others, since a student is ",
        ),
        (SMALL + "[extend.distill]\nlayers = 0", "extend.distill.layers is 0; it must be a whole number "),
        (SMALL + "[extend.distill]\ntemperature = 0", "extend.distill.temperature is 0; it must be more "),
        (
            SMALL + "[service.model]\nwidth = 16\n[extend.distill]\nwidth = 32",
            "extend.distill.width is 32; it must be at most 16, that of the network",
        ),
        (SMALL + "[extend.server]\nvariant = 'int4'", "extend.server.variant is 'int4'; it must be one of "),
        (
            SMALL + "[extend.server]\nbatch_window = -1",
            "extend.server.batch_window is -1; it must be from 0 ",
        ),
        (
            SMALL + "[extend.server]\nmax_examples = 8",
            "extend.server.max_examples is 8; it must be at least 16, the batch of the service",
        ),
        (
            'name = "a"\ntask = "click-through-rate"\n[extend.server]\nclass_names = ["a"]',
            "extend.server.class_names has 1 names; click-through-rate has no classes",
        ),
        (
            SMALL + "[training]\nschedule = 'step'",
            "training.schedule is 'step'; it must be one of 'constant', 'cosine', 'linear'",
        ),
        (SMALL + "[training]\nclip_norm = 0", "training.clip_norm is 0; it must be more than 0 and finite"),
        (
            SMALL + "[training]\nwarm_up_steps = -1",
            "training.warm_up_steps is -1; it must be a whole number ",
        ),
        (SMALL + "[training]\ntensorboard = 1", "training.tensorboard is 1; it must be true or false"),
        (SMALL + "[training]\npatience = 2", "training.patience is 2; it needs validate_every"),
        (
            SMALL + "[training]\ncheckpoint_parts = 2",
            "training.checkpoint_parts is 2; it needs micro_batches of 2 or more",
        ),
        (
            SMALL + "[training]\nmicro_batches = 3",
            "training.micro_batches is 3; it must divide service.batch, 16",
        ),
        (
            SMALL + "[extend]\nsteps = ['data-parallel']\nprocesses = 3",
            "extend.processes is 3; it must divide service.batch, 16",
        ),
        (
            SMALL + "[service]\nprecision = 'float16'\n[extend]\nsteps = ['pipeline']",
            "service.precision is 'float16', whose losses pipelined training does not scale; ",
        ),
        ("name = ", "it is not valid TOML: Invalid value"),
    ],
)
def test_wrong_field_is_named_with_what_is_allowed(spec, tmp_path, text, sentence):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as raised:
        spec(text)
    assert str(raised.value).startswith(f"{tmp_path / 'spec.toml'}: {sentence}")


def test_text_that_is_not_utf_8(tmp_path):
    (tmp_path / "spec.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(ValueError, match=r"spec\.toml: byte 8 is not UTF-8"):
        read_spec(tmp_path / "spec.toml")


def test_json_nested_too_deeply(tmp_path):
    (tmp_path / "spec.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"spec\.json: "):
        read_spec(tmp_path / "spec.json")
