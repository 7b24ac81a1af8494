"""Small projects for tests of how projects of other people are adopted; they need no packages."""

# A line y = 2 x + 1, learned by gradient descent.
TRAIN = """
import argparse, csv, json, os, random, sys
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=300)
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--output", default="out")
options = parser.parse_known_args()[0]
data = [tuple(map(float, row)) for row in csv.reader(open("data/points.csv"))]
random.seed(0)
a = b = 0.0
os.makedirs(options.output, exist_ok=True)
log = open(options.output + "/log.csv", "w")
print("epoch,loss", file=log)
for epoch in range(options.epochs):
    for x, y in random.sample(data, options.batch):
        error = a * x + b - y
        a, b = a - 0.1 * error * x, b - 0.1 * error
    loss = sum((a * x + b - y) ** 2 for x, y in data) / len(data)
    print(f"{epoch},{loss}", file=log)
    print(f"epoch {epoch} loss: {loss:.6f} ips: {1000 + epoch}")
json.dump({"a": a, "b": b}, open(options.output + "/line.json", "w"))
"""
EVALUATE = """
import json, sys
line = json.load(open(sys.argv[1] if len(sys.argv) > 1 else "out/line.json"))
error = abs(line["a"] - 2) + abs(line["b"] - 1)
print(f"acc: {1 - error:.4f}")
json.dump({"test": {"error": error}}, open("result.json", "w"))
"""
EXPORT = """
import json, sys
words = dict(word.split("=") for word in sys.argv[1:] if "=" in word)
line = json.load(open(words.get("weights", "out") + "/line.json"))
open(words.get("save", "out") + "/line.txt", "w").write(f"{line['a']} {line['b']}")
"""
INFER = """
import sys
words = dict(word.split("=") for word in sys.argv[1:] if "=" in word)
a, b = map(float, open(words.get("model", "out") + "/line.txt").read().split())
print("answer:", a * 3 + b, "threads", words.get("threads"), "batch", words.get("batch"))
"""


def write(folder):
    """Write the project: its data, network and scripts."""
    (folder / "data").mkdir(parents=True)
    points = [(i / 8, 2 * i / 8 + 1) for i in range(8)]
    (folder / "data" / "points.csv").write_text("".join(f"{x},{y}\n" for x, y in points))
    (folder / "tools").mkdir()
    for name, text in {
        "train.py": TRAIN, "tools/eval.py": EVALUATE, "export.py": EXPORT, "infer.py": INFER
    }.items():  # fmt: skip
        (folder / name).write_text(text)
    return folder


TIPC = """\
===========================train_params===========================
model_name:line
python:python3
gpu_list:-1|0|0,1
use_gpu:False|True|True
auto_cast:null
--epochs:lite_train_lite_infer=40|whole_train_whole_infer=200
--output:./unused
--batch:4
weights:null
train_model_name:null
train_infer_img_dir:data
null:null
##
trainer:norm_train|pact_train
norm_train:train.py
pact_train:null
fpgm_train:null
distill_train:null
null:null
null:null
##
===========================eval_params===========================
eval:null
null:null
##
===========================infer_params===========================
save:unused
weights:
norm_export:export.py
quant_export:null
fpgm_export:null
distill_export:null
export1:null
export2:null
inference_dir:null
infer_model:./there
infer_export:null
infer_quant:False
inference:infer.py
use_gpu:True|False
mkldnn:True|False
threads:1|6
batch:1|16
trt:False|True
precision:fp32|fp16|int8
model:
images:elsewhere
null:null
benchmark:True
null:null
===========================train_benchmark_params===========================
batch_size:2|4
fp_items:fp32
epoch:20
--profile:null
flags:FLAGS_a=1;FLAGS_b=2
"""
