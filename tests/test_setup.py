"""What tools/setup.sh says on machines that lack something, and when it lets a .venv stand."""

import os, shutil, subprocess

import pytest
from refresh import ROOT

NEW = 'case "$*" in *ensurepip*) exit 0;; *--version*) echo Python 3.12.1;; esac'
BARE = 'case "$*" in *ensurepip*) exit 1;; *print*) echo python3.12;; esac'
OLD = 'case "$*" in *"(3, 11)"* | *ensurepip*) exit 1;; *print*) echo 3.9.2;; esac'
# A Python whose `-m venv` puts a Python into .venv, whose pip ends as the file `pip-ends` says:
WHOLE = """case "$*" in *"-m venv"*)
    mkdir -p .venv/bin
    echo '#!/bin/sh
case "$*" in *"-m pip"*) echo installs >>pips; exit $(cat pip-ends);; *version_info*) echo "3.12 $PWD/.venv";; esac
' >.venv/bin/python
    chmod +x .venv/bin/python
esac"""


DISK = 'echo "Filesystem 1024-blocks Used Available Capacity Mounted"; echo "disk 9 9 {} 9% /"'  # what df says


@pytest.fixture
def setup(tmp_path):
    "Call the script, in a copy of the project, where the programs given (name: what it does, in sh) are all there are."
    tree, programs = tmp_path / "a project", tmp_path / "programs"
    (tree / "tools").mkdir(parents=True)
    programs.mkdir()
    for name in ("tools/setup.sh", "settings.ini", "constraints.txt"):
        shutil.copy(ROOT / name, tree / name)
    common = ("dirname", "cat", "cksum", "grep", "uname", "awk", "rm", "mkdir", "chmod")
    plain = {name: f'exec {shutil.which(name)} "$@"' for name in common}

    def call(*arguments, PYTHON="", free=50, **pythons):
        shutil.rmtree(programs)
        programs.mkdir()
        named = {name.replace("python3_", "python3."): does for name, does in pythons.items()}
        for name, does in (plain | {"df": DISK.format(free << 20)} | named).items():
            (programs / name).write_text(f"#!/bin/sh\n{does}\n")
            (programs / name).chmod(0o755)
        return subprocess.run(["/bin/sh", "tools/setup.sh", *arguments], cwd=tree, capture_output=True, text=True,
                              env=os.environ | {"PATH": str(programs), "PYTHON": PYTHON}, stdin=subprocess.DEVNULL)

    call.tree = tree
    return call


def test_the_newest_suitable_python_is_taken(setup):
    pythons = dict(python3_11=NEW, python3_13=NEW, python3_14=BARE, python3=NEW)
    assert setup("python", **pythons).stdout == "python3.13\n"
    assert setup("python", PYTHON="python3.11", **pythons).stdout == "python3.11\n"


@pytest.mark.parametrize("pythons, words", [
    ({}, "there is no python3 here"),
    ({"python3": OLD}, "python3 here is 3.9.2"),
    ({"python3": OLD, "python3_12": BARE}, "python3.12-venv"),
])
def test_what_is_missing_is_said_in_a_sentence(setup, pythons, words):
    done = setup(**pythons)
    assert done.returncode == 1 and words in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (setup.tree / ".venv").exists()


def test_a_full_disk_is_noticed_before_anything_is_installed(setup):
    done = setup(python3_12=NEW + "\n" + WHOLE, free=1)
    assert done.returncode == 1 and "there is 1 GB" in done.stderr
    assert "with Python 3.12.1" in done.stdout and not (setup.tree / "pips").exists()


def test_only_a_finished_installation_stands(setup):
    def make(pip_ends):
        (setup.tree / "pip-ends").write_text(pip_ends)
        done = setup(python3_12=WHOLE)
        return done.returncode, done.stdout.split(" ", 2)[0]

    assert make("7") == (1, "Installing")
    assert make("7") == (1, "Installing")  # .venv is there, and yet it is not ready
    assert make("0") == (0, "Installing")
    assert make("7") == (0, "")  # ready: nothing is installed that could fail
    with open(setup.tree / "constraints.txt", "a") as f:
        f.write("# changed\n")
    assert make("7") == (1, "Updating")
    assert make("0") == (0, "Updating")
    assert make("7") == (0, "")
    inside = setup.tree / ".venv/bin/python"
    inside.write_text(inside.read_text().replace("3.12", "3.13"))  # another Python: what was installed is no use to it
    assert make("7") == (1, "Installing")
