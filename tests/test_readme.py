"The README keeps its word: its Python runs, and every command in it is understood."

import re
import shlex

import pytest
from refresh import ROOT

from classypics.cli import COMMANDS, _parser

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("line", sorted(set(re.findall(r"classypics ((?:%s) [^#\n`]+)" % "|".join(COMMANDS), README))))
def test_commands_are_understood(line):
    command, *arguments = shlex.split(line.strip().rstrip(".,;:)"))
    parser = _parser("", prog=command)
    COMMANDS[command][0](parser)
    try:
        parser.parse_args(arguments)
    except SystemExit as e:  # --help is understood, too, and ends the program
        assert e.code == 0
    for recipe in re.findall(r"--config (\S+)", line):
        assert (ROOT / recipe).exists()


def test_figures_are_filled_in():
    assert not re.search(r"@\w+@", README)
