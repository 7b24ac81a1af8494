"""The command line as a whole: arguments, exit statuses, and what ends it early."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from commands import SHORT, fail, strict
from processes import read_until

import stageplan as sp
from stageplan import cli
from stageplan.cli import search
from stageplan.plan_file import PlanDocument


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("sing", "invalid choice: 'sing'"),
        ("plan net.toml --nonsense", "unrecognized arguments: --nonsense"),
        ("plan net.toml --max-pri 3", "unrecognized arguments: --max-pri 3"),
        ("info more", "unrecognized arguments: more"),
    ],
)
def test_bad_input_is_one_sentence(refused, argv, sentence):
    assert sentence in refused(*argv.split())


@pytest.mark.parametrize(
    "argv",
    [
        "--help",
        "plan --help",
        "pareto --help",
        "score --help",
        "profile --help",
        "export --help",
        "devices --help",
        "generate --help",
        "test --help",
        "example --help",
        "schema --help",
        "info --help",
    ],
)
def test_help_lists_the_exit_statuses(capsys, argv):
    with pytest.raises(SystemExit, match="0"):
        cli.main(argv.split())
    _, _, statuses = capsys.readouterr().out.partition("exit status:\n")
    found = [line.split()[0] for line in statuses.splitlines() if not line.startswith("   ")]
    without_failure = argv.split()[0] in ("profile", "devices", "example", "schema", "info")
    assert found == ["0", *([] if without_failure else ["1"]), "2", "130", "141"]
    assert "143 by SIGTERM; 129 by SIGHUP" in statuses


def test_helps_have_exit_statuses_of_their_own(capsys):
    sentences = {
        "plan": "1    no plan found does; the output lists",
        "score": "0    the plan, or one of the schemes, meets every limit",
        "export": "1    the plan is not feasible; nothing is exported",
        "generate": "; --resume continues",
    }
    for command, sentence in sentences.items():
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        assert sentence in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (KeyboardInterrupt(), 130, "stageplan: interrupted\n"),
        (MemoryError(), 2, "stageplan: error: there is not enough memory\n"),
    ],
)
def test_a_search_that_breaks_off(run, monkeypatch, error, status, sentence):
    monkeypatch.setattr(search, "solve", lambda *_, **__: fail(error)())
    assert run("plan", "net.toml", "-o", "plan.json") == (status, "", sentence)
    assert not Path("plan.json").exists()


# In a process of its own --------------------------------------------------------------------------------

STAGEPLAN = (sys.executable, "-m", "stageplan")


def test_as_a_module():
    done = subprocess.run([*STAGEPLAN, "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"stageplan {sp.__version__}\n", "")


@pytest.mark.usefixtures("net_files")
def test_numba_is_not_imported():
    code = (
        "import sys; from stageplan.cli import main; status = main(sys.argv[1:]); "
        "sys.exit(9 if 'numba' in sys.modules else status)"
    )
    argv = [sys.executable, "-c", code, "plan", "net.toml", *SHORT]
    done = subprocess.run(argv, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.usefixtures("net_files")
@pytest.mark.parametrize("closed", [False, True])
def test_stdout_that_takes_nothing(closed):
    if closed:
        reader, writer = os.pipe()
        os.close(reader)
    elif Path("/dev/full").exists():
        writer = os.open("/dev/full", os.O_WRONLY)
    else:
        pytest.skip("there is no /dev/full here")
    argv = [*STAGEPLAN, "plan", "net.toml", *SHORT, "-o", "plan.json"]
    done = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    sentence = "stageplan: error: standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == ((141, "") if closed else (2, sentence))
    assert strict(Path("plan.json").read_text())["feasible"]


@pytest.mark.usefixtures("net_files")
def test_progress_on_a_terminal_and_ctrl_c():
    ours, theirs = pty.openpty()
    # What a background job of a shell inherits is to ignore Ctrl-C.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from stageplan.cli import main; raise SystemExit(main())"
    )
    command = ["plan", "bert-large", "--method", "genetic", "--max-runtime", "30", "-o", "plan.json"]
    argv = [sys.executable, "-c", code, *command]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=theirs, text=True, env=environment) as process:
        os.close(theirs)
        shown = read_until(ours, b"generation", b"schemes")
        process.send_signal(signal.SIGINT)
        while chunk := _read(ours):
            shown += chunk
        out, _ = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 130
    assert b"examples/s" in shown
    assert b"Traceback" not in shown
    assert "(interrupted)" in out
    plan = msgspec.json.decode(Path("plan.json").read_bytes(), type=PlanDocument)
    assert plan.search.interrupted
    assert f"{plan.search.evaluations:,} schemes scored" in out


def _read(terminal):
    """Read what comes; nothing, or EIO on Linux, when the other side is closed."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""
