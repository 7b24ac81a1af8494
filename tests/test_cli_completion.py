"""``stageplan completion``."""

import shutil
import subprocess
import sys

import pytest


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_script_completes_commands_options_and_files(run, shell):
    pytest.importorskip("shtab")
    status, script, err = run("completion", shell)
    assert (status, err) == (0, "")
    for word in ("pareto", "--max-price", "megatron", "--json", "1f1b"):
        assert word in script
    interpreter = shutil.which(shell)
    if interpreter is None:
        pytest.skip(f"{shell} is not installed")
    subprocess.run([interpreter, "-n"], input=script, text=True, check=True)


def test_bash_completes(run):
    pytest.importorskip("shtab")
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    _, script, _ = run("completion", "bash")
    line = "COMP_WORDS=(stageplan plan net.toml --max-pr); COMP_CWORD=3; _shtab_stageplan 2>/dev/null"
    code = f'{script}\n{line}; echo "${{COMPREPLY[@]}}"'
    code = f'{script}\n{line}; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run([bash, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["--max-price"]


def test_shtab_is_named_where_it_is_absent(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert refused("completion", "bash") == 'completion requires shtab: pip install "stageplan[completion]"'


def test_other_shells_are_refused(refused):
    assert "invalid choice: 'fish'" in refused("completion", "fish")
