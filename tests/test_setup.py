"""What tools/setup.sh says on machines that lack something, and when it lets a .venv stand."""

import os, shutil, subprocess

import pytest
from refresh import ROOT

NEW = 'case "$*" in *ensurepip*) exit 0;; esac'
BARE = 'case "$*" in *ensurepip*) exit 1;; *print*) echo python3.12;; esac'
OLD = 'case "$*" in *"(3, 11)"*|*ensurepip*) exit 1;; *print*) echo 3.9.2;; esac'


def setup(tmp_path, pythons, *arguments, **env):
    "Run a copy of the script where `pythons` (names and what they do, in sh) are all there are."
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    for tool in ("dirname", "cat", "cksum", "tr", "sed", "grep", "uname", "df", "awk", "rm"):
        (folder / tool).write_text(f'#!/bin/sh\nexec {shutil.which(tool)} "$@"\n')  # no link: a fake is written over it
        (folder / tool).chmod(0o755)
    for name, does in pythons.items():
        (folder / name).write_text(f"#!/bin/sh\n{does}\n")
        (folder / name).chmod(0o755)
    tree = tmp_path / "a project"
    (tree / "tools").mkdir(parents=True, exist_ok=True)
    for name in ("tools/setup.sh", "settings.ini", "constraints.txt"):
        shutil.copy(ROOT / name, tree / name)
    env = {k: v for k, v in os.environ.items() if k != "PYTHON"} | {"PATH": str(folder)} | env
    return subprocess.run(["/bin/sh", "tools/setup.sh", *arguments], cwd=tree, env=env, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)


def test_the_newest_suitable_python_is_taken(tmp_path):
    done = setup(tmp_path, {"python3.11": NEW, "python3.13": NEW, "python3.14": BARE, "python3": NEW}, "python")
    assert (done.returncode, done.stdout) == (0, "python3.13\n")
    assert setup(tmp_path, {}, "python", PYTHON="python3.11").stdout == "python3.11\n"


@pytest.mark.parametrize("pythons, words", [
    ({}, "Python 3.11 or newer is needed"),
    ({"python3": OLD}, "is 3.9.2"),
    ({"python3": OLD, "python3.12": BARE}, "python3.12-venv"),
])
def test_what_is_missing_is_said_in_a_sentence(tmp_path, pythons, words):
    done = setup(tmp_path, pythons)
    assert done.returncode == 1 and words in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "a project/.venv").exists()


def test_a_full_disk_is_noticed_before_anything_is_installed(tmp_path):
    full = 'echo "Filesystem 1024-blocks Used Available Capacity Mounted"; echo "disk 9 9 1048576 9% /"'
    works = NEW.replace("esac", "*--version*) echo Python 3.12.1;; esac")
    done = setup(tmp_path, {"python3.12": works, "df": full})
    assert done.returncode == 1 and "there are 1 GB here" in done.stderr and "about" in done.stdout


def test_only_a_finished_installation_stands(tmp_path):
    pip = 'case "$*" in *pip*) exit 7;; *version_info*) echo "3.12 $PWD/.venv";; esac'  # a pip that is interrupted
    makes = f'case "$*" in *"-m venv"*) mkdir -p .venv/bin; printf \'#!/bin/sh\\n%s\\n\' \'{pip}\' >.venv/bin/python; '
    makes += 'chmod +x .venv/bin/python;; *version_info*print*|*print*version_info*) echo "3.12 /usr";; *) ;; esac'
    tools = {n: f'exec {shutil.which(n)} "$@"' for n in ("mkdir", "chmod")} | {"python3.12": makes}
    first = setup(tmp_path, tools)
    assert first.returncode == 1 and "run the same command again" in first.stderr
    again = setup(tmp_path, tools)  # .venv is there, and yet it is not ready
    assert again.returncode == 1 and "Installing into .venv" in again.stdout

    python = tmp_path / "a project/.venv/bin/python"
    python.write_text(python.read_text().replace("exit 7", "exit 0"))
    tools["python3.12"] = makes.replace("exit 7", "exit 0")
    assert setup(tmp_path, tools).returncode == 0
    ready = setup(tmp_path, tools)
    assert (ready.returncode, ready.stdout) == (0, "")
