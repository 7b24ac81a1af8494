"""Tables of measured stages."""

import pytest

import stageplan as sp
from stageplan.readers.measured import read_measured

HEAD = "first,last,type,devices,time\n"


def test_columns_are_read_in_any_order(tmp_path):
    file = tmp_path / "stages.csv"
    file.write_text("time, type,first,last,devices,sync\n2.5,gpu,0,1,4,0.5\n\n,gpu,1,1,2,0\n")
    columns = read_measured(file)
    assert columns["time"][0] == 2.5
    assert columns["time"][1] != columns["time"][1]  # not a number
    assert (columns["type"], columns["sync"], columns["devices"]) == (["gpu", "gpu"], [0.5, 0.0], [4.0, 2.0])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it has no column first; it must have first, last, type, devices, time"),
        ("first,last,type,devices\n", "it has no column time; it must have"),
        (
            HEAD.replace("time", "time,speed"),
            "it has the column 'speed'; it must be one of first, last, type, ",
        ),
        (HEAD.replace("time", "time,time"), "it has a column twice; all must differ"),
        (HEAD + "0,0,gpu,1\n", "line 2 has 4 fields; it must have 5"),
        (HEAD + "0,0,gpu,1,fast\n", "time in line 2 is 'fast'; it must be a number"),
        (HEAD + "0,0,gpu,,1.0\n", "devices in line 2 is ''; it must be a number"),
        (HEAD + "0,0,tpu,1,1.0\n", "type of row 0 is 'tpu'; it must be one of the cluster's: gpu"),
        (HEAD + "0,9999,gpu,1,1.0\n", "last is 9999; it must be at most 4095"),
        (HEAD + "1,0,gpu,1,1.0\n", "option 0 is of layers 1 to 0 on type 0; layers must be"),
        (HEAD + "0,0,gpu,1.5,1.0\n", "devices has numbers that are not whole"),
        (HEAD + '0,0,"gpu,1,1.0\n', "it is not a valid CSV: "),
    ],
)
def test_wrong_tables_are_refused(tmp_path, text, sentence):
    file = tmp_path / "stages.csv"
    file.write_text(text)
    lab = sp.Cluster(name="lab", types=[sp.DeviceType(name="gpu", price=1.0)])
    with pytest.raises(sp.InputError) as caught:
        sp.Problem.from_measured(file, lab)
    assert str(caught.value).startswith(f"{file}: {sentence}")


def test_other_bytes_are_refused(tmp_path):
    file = tmp_path / "stages.csv"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(sp.InputError, match="it is not UTF-8 text"):
        read_measured(file)
    pytest.importorskip("pyarrow")
    parquet = tmp_path / "stages.parquet"
    parquet.write_bytes(b"PAR1")
    with pytest.raises(sp.InputError, match="it is not valid Parquet"):
        read_measured(parquet)
