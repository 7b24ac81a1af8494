"""Logs of trainings as curves."""

import re

import pytest

from stageplan.report.curves import curves, logs_of


def test_a_csv_file_with_losses_is_a_log(tmp_path):
    (tmp_path / "train.csv").write_text(
        "step,loss,learning_rate\n10,0.5,0.1\n20,0.25,0.1\n30,,0.1\n40,nan,0.1\n"
    )
    (log,) = logs_of(tmp_path)
    assert (log.file, log.step, log.curves) == ("train.csv", "step", {"loss": [(10, 0.5), (20, 0.25)]})


def test_json_lines_with_losses_are_a_log(tmp_path):
    (tmp_path / "sub").mkdir()
    text = '{"epoch": 1, "train_loss": 2, "val_loss": 3}\n{"epoch": 2, "train_loss": 1, "val_loss": "2.5"}\n'
    (tmp_path / "sub/log.jsonl").write_text(text)
    (log,) = logs_of(tmp_path)
    assert log.file == "sub/log.jsonl"
    assert log.curves == {"train_loss": [(1, 2), (2, 1)], "val_loss": [(1, 3), (2, 2.5)]}


def test_lines_are_numbered_where_there_are_no_steps(tmp_path):
    (tmp_path / "a.csv").write_text("Loss\n3\n2\n")
    assert logs_of(tmp_path)[0].curves == {"Loss": [(0, 3), (1, 2)]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("points.csv", b"1,2\n3,4\n"),
        ("words.csv", b"step,loss\na,b\n"),
        ("bytes.csv", b"step,loss\n\xff\xfe,1\n"),
        ("half.jsonl", b'{"loss": 1\n'),
        ("list.jsonl", b"[1]\n"),
        ("empty.csv", b""),
        ("loss.txt", b"loss\n1\n"),
    ],
)
def test_other_files_are_no_logs(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert logs_of(tmp_path) == []
    assert curves([]) == ""


def test_a_long_log_is_drawn_with_few_points_and_its_numbers_are_shown(tmp_path):
    rows = "".join(f"{i},{1 + 1 / (i + 1)}\n" for i in range(50_000))
    (tmp_path / "train.csv").write_text("step,loss\n" + rows)
    html = curves(logs_of(tmp_path))
    (line,) = re.findall(r'<path d="(M[^"]*)" class="main"', html)
    assert line.count("L") == 399
    assert "Means of neighbouring steps are drawn." in html
    assert "50,000" in html
    assert len(html) < 20_000


def test_few_logs_are_shown(tmp_path):
    for i in range(20):
        (tmp_path / f"{i:02}.csv").write_text("loss\n1\n")
    assert [log.file for log in logs_of(tmp_path)] == [f"{i:02}.csv" for i in range(6)]
