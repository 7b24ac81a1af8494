"""Configurations of TIPC: their lines, and the cases that are made of them."""

import pytest
import small_projects

from stageplan.generate.cases import to_script
from stageplan.generate.tipc import TIPC_MODES, cases_of, read_tipc


@pytest.fixture
def cases(tmp_path):
    """Make the cases of the configuration, with some of its texts replaced, as tables by name."""

    def cases(mode="lite_train_lite_infer", **changes):
        text = small_projects.TIPC
        for old, new in changes.get("replace", {}).items():
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / "train_infer_python.txt").write_text(text)
        made = cases_of(read_tipc(tmp_path / "train_infer_python.txt"), mode, 60.0)
        script = to_script({"case": [kind.table for kind in made]})
        return {case.name: case for case in script.case}

    return cases


SAVED = "test_tipc/output/line/lite_train_lite_infer/norm_train_gpus_-1_autocast_null"


def test_training_and_export_have_the_parameters_of_the_mode(cases):
    made = cases()
    train = made["train norm_train gpus=-1 autocast=null"]
    assert train.command == (
        "train.py", "use_gpu=False", f"--output={SAVED}", "--epochs=40", "--batch=4"
    )  # fmt: skip
    assert (train.artefacts, train.needs, train.modes) == ((SAVED,), ("environment",), ("quick", "full"))
    export = made["export norm_train gpus=-1 autocast=null"]
    assert export.command == ("export.py", f"weights={SAVED}", f"save={SAVED}")
    assert export.needs == (train.name,)
    whole = cases("whole_train_whole_infer")["train norm_train gpus=-1 autocast=null"]
    assert "--epochs=200" in whole.command
    assert whole.modes == ("full",)
    assert not any(
        word.startswith("--epochs") for word in next(iter(cases("lite_train_whole_infer").values())).command
    )


def test_rows_of_gpus_need_them(cases):
    made = cases()
    one = made["train norm_train gpus=0 autocast=null"]
    assert (one.accelerators, one.variables) == (1, {"CUDA_VISIBLE_DEVICES": "0"})
    two = made["train norm_train gpus=0,1 autocast=null"]
    assert two.command[:4] == ("python", "-m", "paddle.distributed.launch", "--gpus=0,1")
    assert two.accelerators == 2
    many = cases(replace={"gpu_list:-1|0|0,1": "gpu_list:10.0.0.1,10.0.0.2;0,1"})
    assert next(iter(many.values())).skip == "it needs several machines"


def test_inference_is_a_grid_with_rules(cases):
    made = cases()
    label = "infer norm_train gpus=-1 autocast=null"
    cpu = {name: case for name, case in made.items() if name.startswith(f"{label} cpu")}
    assert len(cpu) == 2 * 2 * 3 * 2
    one = cpu[f"{label} cpu mkldnn=True threads=6 precision=fp32 batch=16"]
    assert one.command == (
        "infer.py", "use_gpu=False", f"model={SAVED}", "images=data", "benchmark=True", "mkldnn=True",
        "threads=6", "precision=fp32", "batch=16",
    )  # fmt: skip
    assert one.needs == ("export norm_train gpus=-1 autocast=null",)
    assert {case.skip for case in cpu.values()} == {(), "fp16 requires MKL-DNN"}
    gpu = {name: case for name, case in made.items() if name.startswith(f"{label} gpu")}
    assert len(gpu) == 2 * 3 * 2
    assert all(case.accelerators == 1 for case in gpu.values())
    assert {case.skip for case in gpu.values()} == {
        (), "int8 requires a quantized model", "fp16 and int8 require TensorRT"
    }  # fmt: skip


def test_a_quantized_model_is_inferred_with_int8(cases):
    replace = {"pact_train:null": "pact_train:train.py --pact", "quant_export:null": "quant_export:export.py"}
    made = cases(replace=replace)
    cpu = [
        case for name, case in made.items() if name.startswith("infer pact_train gpus=-1 autocast=null cpu")
    ]
    assert {case.grid["precision"] for case in cpu if not case.skip} == {("int8",)}


def test_parameters_without_key_or_value_are_left_out(cases):
    nothing = dict.fromkeys(("mkldnn:True|False", "threads:1|6", "precision:fp32|fp16|int8"), "null:null")
    made = cases(replace=nothing | {"batch:1|16": "batch:null", "use_gpu:True|False": "use_gpu:False"})
    infer = made["infer norm_train gpus=-1 autocast=null cpu"]
    assert infer.command == ("infer.py", "use_gpu=False", f"model={SAVED}", "images=data", "benchmark=True")


def test_mode_whole_infer_uses_models_that_are_there(cases):
    made = cases("whole_infer", replace={"infer_export:null": "infer_export:export.py --all"})
    assert made["export model 1"].command == ("export.py", "--all", "weights=./there", "save=./there")
    infer = made["infer model 1 cpu mkldnn=True threads=1 precision=fp32 batch=1"]
    assert "images=elsewhere" in infer.command
    assert "model=./there" in infer.command
    assert infer.needs == ("export model 1",)


def test_mode_benchmark_train_is_a_grid_of_batches_and_precisions(cases):
    made = cases("benchmark_train")
    assert [*made] == [
        "benchmark norm_train batch=2 precision=fp32",
        "benchmark norm_train batch=4 precision=fp32",
    ]
    case = made["benchmark norm_train batch=2 precision=fp32"]
    assert {"--epochs=20", "--batch=2"} < {*case.command}
    assert (case.variables, case.repeat, case.modes) == ({"FLAGS_a": "1", "FLAGS_b": "2"}, 3, ("benchmark",))
    assert [metric.name for metric in case.metrics] == ["ips", "loss"]


@pytest.mark.parametrize(
    ("old", "new", "number", "wanted"),
    [
        ("=train_params=", "=train=", 1, "the title ===train_params===, as the 1st line that is not empty"),
        ("model_name:line", "model:line", 2, "model_name:VALUE, as the 2nd line that is not empty"),
        ("model_name:line", "model_name:", 2, "model_name:VALUE, with a value"),
        ("model_name:line", "model_name line", 2, "KEY:VALUE, ## or a title as ===train_params==="),
        ("gpu_list:-1|0|0,1", "gpu_list:all", 4, "gpu_list:LIST, with GPUs as 0 or 0,1, or -1 for the CPU"),
        ("=40|", "=40|whole_train:3|", 7, "a list of MODE=VALUE, with modes such as lite_train_lite_infer"),
        ("lite_train_lite_infer=40", "lite_trian_lite_infer=40", 7, "a list of MODE=VALUE, with modes"),
        ("##\ntrainer", "null:null\ntrainer", 14, "##, as the 14th line that is not empty"),
        ("trainer:norm_train|", "trainer:norm|", 15, "trainer:LIST of distill_train, fpgm_train, "),
        ("norm_train:train.py", "norm_train:train.py; rm x", 16, "a command without characters of a shell"),
        ("norm_train:train.py", "norm_train:train.py 'a", 16, "a command with balanced quotes (No closing"),
        ("=eval_params=", "=evaluation=", 23, "the title ===eval_params===, as the 23rd line"),
        ("use_gpu:True|False", "use_gpu:npu", 41, "use_gpu:LIST of True, False, gpu or cpu"),
    ],
)  # fmt: skip
def test_a_malformed_line_is_named_by_its_number(cases, old, new, number, wanted):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as raised:
        cases(replace={old: new})
    sentence = str(raised.value).rpartition(".txt: ")[2]
    assert sentence.startswith(f"line {number} is ")
    assert f"; it must be {wanted}" in sentence


def test_blank_lines_are_counted_in_numbers_but_not_in_places(cases):
    with pytest.raises(
        ValueError, match=r"line 4 is 'model:line'; it must be model_name:VALUE, as the 2nd line"
    ):
        cases(replace={"model_name:line": "\n\nmodel:line"})


def test_a_file_that_ends_early_and_missing_benchmarks_are_refused(cases, tmp_path):
    (tmp_path / "short.txt").write_text("===train_params===\nmodel_name:line\n")
    with pytest.raises(ValueError, match=r"short.txt: it has 2 lines that are not empty; it must have 51 or"):
        read_tipc(tmp_path / "short.txt")
    with pytest.raises(ValueError, match=r"^it has no epoch in ===train_benchmark_params===, for mode bench"):
        cases("benchmark_train", replace={"epoch:20": "epochs:20"})
    with pytest.raises(ValueError, match=r"^line 37 is 'infer_model:null'; it must be KEY:LIST of models"):
        cases("whole_infer", replace={"infer_model:./there": "infer_model:null"})


def test_every_mode_makes_cases(cases):
    assert all(cases(mode) for mode in TIPC_MODES)
