"""Targets: commands with time limits, folders there and back, on this machine and over ssh."""

import io
import os
import shlex
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from processes import alive, gone, wait_for
from projects import RUN_ID

from stageplan.generate import Spec, TargetError
from stageplan.generate.target import TAIL, Finished, target_of, write_archive

NASTY = "a b'\"$(touch x);`touch x`\n\\ é *"


@pytest.fixture(params=["local", "ssh"])
def target(request, tmp_path):
    """A target, local or over ssh."""
    if request.param == "local":
        return target_of(Spec(name="t", task="text-classification"), tmp_path, RUN_ID)
    return over_ssh(request.getfixturevalue("ssh_server"), tmp_path)


def over_ssh(server, tmp_path, run_id=RUN_ID, **ssh):
    there = tmp_path / "the other side's" / NASTY.replace("\n", "")
    ssh = {"config": str(server.config), "directory": str(there)} | ssh
    here = tmp_path / "here"
    here.mkdir(exist_ok=True)
    spec = Spec(
        name="t",
        task="text-classification",
        target=server.target,
        ssh=ssh,
        environment={"python": sys.executable},
    )
    return target_of(spec, here, run_id)


def python(target, code, *arguments, limit=60.0, **more):
    return target.run([sys.executable, "-c", code, *arguments], target.root, limit=limit, **more)


def test_arguments_and_variables_are_passed_unchanged(target):
    code = "import os, sys; print(ascii(sys.argv[1:]), ascii(os.environ['WHAT']))"
    finished = python(target, code, NASTY, "", variables={"WHAT": NASTY})
    assert finished.output.strip() == f"{[NASTY, '']!a} {NASTY!a}"
    assert finished.ok
    assert not list(target.root.rglob("x"))


def test_command_runs_in_its_folder_without_input_and_python_path(target, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    folder = target.root / "a folder"
    folder.mkdir()
    target.place(folder)
    code = "import os, sys; print([os.getcwd(), sys.stdin.read(), os.environ.get('PYTHONPATH')])"
    finished = target.run([sys.executable, "-c", code], folder, limit=60)
    assert finished.output.strip() == str([target.path(folder), "", None])


def test_exit_status_and_last_line_are_reported(target):
    finished = python(target, "print('first'); import sys; sys.exit('too bad')")
    assert (finished.status, finished.failure) == (1, "ended with exit status 1: too bad")


def test_missing_program_is_an_error(target):
    finished = target.run(["/no/such program"], target.root, limit=60)
    assert finished.failure == "could not be run: /no/such program: No such file or directory"


def test_signal_is_named(target):
    finished = python(target, "import os; os.kill(os.getpid(), 11)")
    assert (finished.status, finished.failure) == (-signal.SIGSEGV, "was ended by signal SIGSEGV")


def test_time_limit_ends_a_command_and_its_descendants(target):
    code = """
import subprocess, sys, time
sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
for new in (False, True):
    print(subprocess.Popen(sleep, start_new_session=new).pid, flush=True)
time.sleep(600)
"""
    finished = python(target, code, limit=1.5)
    assert finished.timed_out
    assert finished.failure.startswith("was stopped at its time limit, after 1.5")
    assert all(gone(int(number)) for number in finished.output.split())
    assert len(finished.output.split()) == 2


def test_descendants_end_with_the_command(target):
    code = "import subprocess; print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid)"
    finished = python(target, code)
    assert finished.ok
    assert gone(int(finished.output))


def test_peak_memory_is_that_of_the_largest_moment(target):
    code = "held = b'x' * 150_000_000; del held"  # too short for a sample
    assert 150e6 < python(target, code).peak_memory < 200e6


def test_peak_memory_has_all_descendants(target):
    code = """
import subprocess, sys
hold = "held = b'x' * 50_000_000; print(flush=True); input()"
pipe = subprocess.PIPE
processes = [
    subprocess.Popen([sys.executable, "-c", hold], stdin=pipe, stdout=pipe, start_new_session=True)
    for _ in range(3)
]
for process in processes:
    process.stdout.readline()
import time
time.sleep(0.5)
"""
    assert 150e6 < python(target, code).peak_memory < 300e6


def test_end_of_a_long_output_is_kept(target):
    finished = python(target, "for i in range(100_000): print(i)")
    assert finished.output.endswith("99998\n99999\n")
    assert len(finished.output) <= TAIL


def test_binary_output_that_looks_like_a_report(target):
    finished = python(target, r"import os; os.write(1, b'\xff\x00'); os.write(2, b'{\"status\": 3}\n')")
    assert finished.status == 0
    assert finished.output.startswith("\ufffd\x00")


def test_folders_are_copied_there_and_back(target):
    folder = target.root / "sub" / NASTY.replace("\n", "")
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "data").write_bytes(bytes(range(256)) * 1000)
    (folder / "old").write_text("old")
    target.place(folder)
    code = "import os, sys; os.rename('deep/data', 'new'); os.remove('old')"
    assert target.run([sys.executable, "-c", code], folder, limit=60).ok
    target.collect(folder)
    assert sorted(path.name for path in folder.rglob("*")) == ["deep", "new"]
    assert (folder / "new").read_bytes() == bytes(range(256)) * 1000
    (folder / "new").unlink()
    target.place(folder)
    assert target.run(
        [sys.executable, "-c", "import os; assert not os.path.exists('new')"], folder, limit=60
    ).ok


def test_archives_of_equal_folders_are_equal(tmp_path):
    archives = []
    for name, names, mode, seconds in (("a", "xyz", 0o640, 1), ("b", "zyx", 0o664, 2e9)):
        folder = tmp_path / name
        for file in names:
            (folder / file).mkdir(parents=True)
            (folder / file / "data").write_bytes(b"1" * 1000)
            (folder / file / "data").chmod(mode)
            os.utime(folder / file / "data", (seconds, seconds))
        (folder / "run").write_text("#!/bin/sh")
        (folder / "run").chmod(0o711)
        stream = io.BytesIO()
        write_archive(folder, stream)
        archives.append(stream.getvalue())
    assert archives[0] == archives[1]
    with tarfile.open(fileobj=io.BytesIO(archives[0])) as archive:
        assert archive.getnames() == sorted(archive.getnames())
        assert (archive.getmember("./run").mode, archive.getmember("./x/data").mode) == (0o755, 0o644)


@pytest.mark.parametrize("where", ["local", "ssh"])
def test_command_ends_when_its_caller_is_killed(where, request, tmp_path):
    server = request.getfixturevalue("ssh_server") if where == "ssh" else None
    ssh = {"config": str(server.config), "directory": str(tmp_path / "there")} if server else {}
    more = f"target={server.target!r}, ssh={ssh!r}," if server else ""
    code = f"""
import sys
from pathlib import Path
from stageplan.generate import Spec
from stageplan.generate.target import target_of
folder = Path({str(tmp_path)!r})
spec = Spec(name="t", task="text-classification", {more} environment={{"python": sys.executable}})
script = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
command = [sys.executable, "-c", script, str(folder / "pid")]
target_of(spec, folder, "{RUN_ID}").run(command, folder, limit=600)
"""
    environment = os.environ | {"HOME": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as runner:
        number = wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), runner)
        assert alive(int(number))
        runner.kill()
    assert gone(int(number))


def test_missing_interpreter_on_the_target_is_an_error(ssh_server, tmp_path):
    target = over_ssh(ssh_server, tmp_path)
    target.python = "/no/python"
    finished = python(target, "")
    assert "/no/python: " in finished.error
    assert not finished.ok


def test_failed_copy_gives_one_sentence(ssh_server, tmp_path):
    target = over_ssh(ssh_server, tmp_path)
    folder = target.root / "sub"
    folder.mkdir()
    Path(target.path(folder)).parent.joinpath("sub").write_text("")
    with pytest.raises(TargetError, match=r"^ssh:\S+: a folder could not be copied: \S[^\n]*$"):
        target.collect(folder)
    assert list(target.root.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("ssh:nobody@127.0.0.1:1", "Connection refused"),
        ("ssh:no-such-host.invalid", "Could not resolve hostname|Name or service not known"),
    ],
)
def test_unreachable_host_gives_one_sentence(address, reason, ssh_server, tmp_path):
    target = over_ssh(ssh_server._replace(target=address), tmp_path, connect_timeout=3)
    with pytest.raises(TargetError, match=rf"^{address} cannot be reached: [^\n]*({reason})[^\n]*$"):
        target.run(["true"], target.root, limit=1)


def test_unknown_key_gives_one_sentence(ssh_server, tmp_path):
    config = tmp_path / "config"
    config.write_text(f"IdentityFile {tmp_path}/none\nIdentitiesOnly yes\n")
    target = over_ssh(ssh_server, tmp_path, config=str(config))
    with pytest.raises(TargetError, match=r"cannot be reached: [^\n]+$"):
        target.run(["true"], target.root, limit=1)


def test_silent_host_reaches_the_time_limit(tmp_path, monkeypatch):
    """A server that accepts connections and sends nothing."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"ssh:127.0.0.1:{silent.getsockname()[1]}"
        spec = Spec(name="t", task="text-classification", target=address, ssh={"connect_timeout": 1})
        start = time.monotonic()
        with pytest.raises(TargetError, match=rf"^{address} cannot be reached: "):
            target_of(spec, tmp_path, RUN_ID).run(["true"], tmp_path, limit=1)
        assert time.monotonic() - start < 30


def test_default_directory_has_the_runs_name_and_origin(ssh_server, tmp_path):
    first = over_ssh(ssh_server, tmp_path, directory=None)
    assert first.directory.startswith(".stageplan/t-")
    assert shlex.quote(first.directory) == first.directory


def test_failure_sentences():
    assert Finished().ok
    assert Finished(status=3).failure == "ended with exit status 3: it printed nothing"
    assert Finished(status=-99).failure == "was ended by signal 99"
