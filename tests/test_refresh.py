"""tools/refresh.py on a project of one lesson."""

import json, os, shutil, subprocess, sys

import pytest
from refresh import ROOT, code_hash, read


def code(text, outputs=()):
    return dict(cell_type="code", execution_count=3, id=f"c{abs(hash(text)) % 10**7}", metadata={}, source=text,
                outputs=list(outputs))


def said(text):
    return dict(output_type="stream", name="stdout", text=[text])


@pytest.fixture
def project(tmp_path):
    "A copy of what refreshing needs, and a way to call it."
    for folder in ("tools", "classypics", "nbs", "data"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / "settings.ini", tmp_path)
    shutil.copy(ROOT / "tools/refresh.py", tmp_path / "tools")
    for name in ("__init__.py", "core.py"):
        shutil.copy(ROOT / "classypics" / name, tmp_path / "classypics")

    def refresh(*cells, names=()):
        lesson = tmp_path / "nbs/07_probe.ipynb"
        if cells:
            lesson.write_text(json.dumps(dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)))
        env = {k: v for k, v in os.environ.items() if not k.startswith("CLASSYPICS")} | {"CLASSYPICS_DATA": "data"}
        done = subprocess.run([sys.executable, tmp_path / "tools/refresh.py", *names], cwd=tmp_path, env=env,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        return done, lesson

    return refresh


def test_what_is_stored(project):
    done, lesson = project(
        code("import os, sys, warnings\nfrom classypics.core import budget\nprint(budget('full', 'quick'))"),
        code("data, outputs = os.environ['CLASSYPICS_DATA'], os.environ['CLASSYPICS_OUTPUTS']\n"
             "print(os.path.isabs(data), outputs[-7:], os.getcwd()[-3:])"),
        code("#| slow\nprint('new')", [said("old")]),
        code("#| eval: false\nprint('new')", [said("older")]),
        code("print('a bar', file=sys.stderr); warnings.warn('careful')"),
        code("class Data: pass\ndata = Data()\ndata.name, data.train = 'digits', Data()\n"
             "data.train.fingerprint = 'f00d'"),
        names=["7"],
    )
    assert done.returncode == 0, done.stderr
    nb = read(lesson)
    texts = ["".join(o["text"]).strip() for c in nb["cells"] for o in c["outputs"]]
    assert texts == ["full", "True outputs nbs", "old", "older"]
    assert "a bar" in done.stderr and "careful" in done.stderr
    assert all(c["execution_count"] is None for c in nb["cells"])
    assert json.loads((lesson.parent / "outputs.json").read_text()) == {
        "07_probe": {"budget": "full", "code": code_hash(nb), "data": {"digits": "f00d"}}}
    once = lesson.read_bytes()
    assert project()[0].returncode == 0 and lesson.read_bytes() == once


def test_a_lesson_that_fails_stays_as_it_was(project):
    done, lesson = project(code("print(1)", [said("0")]), code("1 / 0"))
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr and "not refreshed: 07_probe" in done.stderr
    assert read(lesson)["cells"][0]["outputs"] == [said("0")] and not (lesson.parent / "outputs.json").exists()
    done, _ = project(names=["08"])
    assert done.returncode == 1 and "no lesson 08; lessons: 07_probe" in done.stderr
