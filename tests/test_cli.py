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
        ("sing", "invalid choice: 'sing'"),
        ("plan net.toml --nonsense", "unrecognized arguments: --nonsense"),
        ("plan net.toml --max-pri 3", "unrecognized arguments: --max-pri 3"),
        ("info more", "unrecognized arguments: more"),
    ],
)
def test_bad_input_is_one_sentence(refused, argv, sentence):
    assert sentence in refused(*argv.split())


WITHOUT_FAILURE = ("profile", "devices", "demo", "example", "completion", "schema", "info")


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
        "demo --help",
        "example --help",
        "completion --help",
        "schema --help",
        "info --help",
    ],
)
def test_help_lists_the_exit_statuses(capsys, argv):
    with pytest.raises(SystemExit, match="0"):
        cli.main(argv.split())
    _, _, statuses = capsys.readouterr().out.partition("exit status:\n")
    found = [line.split()[0] for line in statuses.splitlines() if not line.startswith("   ")]
    without_failure = argv.split()[0] in WITHOUT_FAILURE
    assert found == ["0", *([] if without_failure else ["1"]), "2", "130", "141"]
    assert "143 by SIGTERM; 129 by SIGHUP" in statuses


def test_without_arguments_the_first_commands_are_shown(run):
    status, out, err = run()
    assert (status, err) == (0, "")
    commands = [line.split()[1] for line in out.splitlines() if line.startswith("  stageplan ")]
    assert commands == ["demo", "plan", "example", "devices", "docs"]
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    "argv",
    [
        ("plan", "net.toml", *SHORT),
        ("plan", "net.toml", "--max-price", 1),
        ("pareto", "net.toml", "--points", 2),
        ("score", "net.toml", "plan.json"),
        ("devices",),
    ],
)
def test_json_is_what_the_output_to_stdout_is(run, argv):
    run("plan", "net.toml", "-o", "plan.json")
    status, out, _ = run(*argv, "--json")
    shown, again = strict(out), strict(run(*argv, "-o", "-")[1])
    for values in (shown, again):
        values.pop("search", None)  # has the runtime
        values.pop("runtime", None)
    assert shown == again
    assert status == run(*argv)[0]


def test_json_and_a_file_are_not_given_together(refused):
    assert "not allowed with argument" in refused("plan", "net.toml", "-o", "plan.json", "--json")
    assert not Path("plan.json").exists()


def test_a_sweep_in_json(run, refused):
    axes = '[product]\nworkload = "net.toml"\nmin_throughput = [100, 1e9]\n'
    Path("sweep.toml").write_text(f'name = "s"\n{axes}')
    status, out, _ = run("sweep", "sweep.toml", "-o", "rows", "--rows", "jsonl", "--json")
    ran, again = strict(out), strict(run("sweep", "-o", "rows", "--status", "--json")[1])
    assert (status, Path(ran.pop("directory"))) == (0, Path("rows").resolve())
    assert ran.items() <= again.items()
    assert (again["set_ups"], again["done"], again["complete"], again["errors"]) == (2, 1, True, {})
    assert again["statuses"] == {"optimal": 1, "infeasible": 1}
    assert len(strict(run("sweep", "front", "rows", "--json")[1])["rows"]) == 1
    assert "only one of them" in refused("sweep", "front", "rows", "--json", "-o", "front.json")


def test_info_in_json(run):
    status, out, _ = run("info", "--json")
    assert (status, strict(out)["version"]) == (0, sp.__version__)
    assert "ctr" in strict(out)["workloads"]


@pytest.mark.parametrize("command", ["", "plan", "sweep", "profile", "completion"])
def test_help_fits_80_columns(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit, match="0"):
        cli.main([*command.split(), "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


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


def test_what_only_some_commands_need_is_not_imported_at_the_start():
    code = (
        "import sys; import stageplan.cli.commands; "
        "print(*{'difflib', 'doctest', 'pydoc', 'rich', 'shtab'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


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
        shown = read_until(ours, b"gap", b"work")
        process.send_signal(signal.SIGINT)
        while chunk := _read(ours):
            shown += chunk
        out, _ = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 130
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
