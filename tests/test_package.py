"""The package as a whole: what imports what, what it asks for, how it is built."""

import ast, configparser, importlib, json, re, shutil, subprocess, sys, zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest, yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from refresh import ROOT, lessons, read, source
from test_notebooks import cells, refuse

PACKAGE = ROOT / "classypics"
MODULES = sorted(p for p in PACKAGE.glob("*.py") if not p.stem.startswith("_"))
HEAVY = {"torchvision", "torchmetrics", "sklearn", "accelerate", "ipywidgets", "matplotlib", "nbdev", "fastcore"}
SETTINGS = configparser.ConfigParser(delimiters=["="])
SETTINGS.read(ROOT / "settings.ini", encoding="utf-8")
SETTINGS = SETTINGS["DEFAULT"]

a_module = pytest.mark.parametrize("module", MODULES, ids=lambda p: p.stem)


def imports(nodes):
    "Of every import among `nodes`: the absolute module (relative ones as `classypics.x`) and the line."
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((a.name, node.lineno) for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "classypics" * bool(node.level) + "." * bool(node.level and node.module) + (node.module or "")
            yield from ((f"{base}.{a.name}" if base == "classypics" else base, node.lineno) for a in node.names)


def at_the_top(tree: ast.Module):
    "Nodes that run when the module is imported: all but the bodies of functions."
    todo = list(tree.body)
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            todo += ast.iter_child_nodes(node)


def parsed(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"))


def exported_by() -> dict[str, str]:
    "The lesson of each module."
    found = {}
    for notebook in lessons():
        for cell in read(notebook)["cells"]:
            if m := re.match(r"#\|\s*default_exp\s+(\S+)", source(cell)):
                assert m[1] not in found, f"{found[m[1]]} and {notebook.name} both export {m[1]}"
                found[m[1]] = notebook.name
    return found


@a_module
def test_a_module_imports_only_earlier_lessons(module):
    lesson = exported_by()
    assert module.stem in lesson, f"classypics/{module.name}: no notebook exports it"
    wrong = []
    for name, line in sorted(set(imports(ast.walk(parsed(module))))):
        package, _, imported = name.partition(".")
        theirs = lesson.get(imported.split(".")[0], "no lesson")
        if package == "classypics" and not imported.startswith("_") and theirs >= lesson[module.stem]:
            wrong.append(f"classypics/{module.name}:{line} ({lesson[module.stem]}) imports {name} ({theirs})")
    assert not wrong, "\n".join(wrong)


def out_of_order(notebook: Path, number: str, lesson: dict[str, str]) -> list[str]:
    "The imports in code cells of `notebook` that lesson `number` may not make yet."
    home, wrong = importlib.import_module("classypics")._HOME, []
    for where, cell in cells(notebook):
        if cell["cell_type"] != "code":
            continue
        for name, _ in imports(ast.walk(ast.parse(source(cell)))):
            package, _, imported = name.partition(".")
            imported = home.get(imported, imported).split(".")[0]
            theirs = "" if imported.startswith("_") else lesson.get(imported, "no lesson")
            if package == "classypics" and imported and theirs[:2] >= number:
                wrong.append(f"{where} imports {name} ({theirs})")
    return wrong


@pytest.mark.parametrize("notebook", lessons(), ids=lambda p: p.stem)
def test_a_lesson_imports_only_earlier_lessons(notebook):
    refuse(out_of_order(notebook, notebook.name[:2], exported_by()))


@pytest.mark.parametrize("notebook", sorted((ROOT / "nbs/solutions").glob("*.ipynb")), ids=lambda p: p.stem)
def test_a_solution_imports_no_later_lesson(notebook):
    refuse(out_of_order(notebook, f"{int(notebook.name[:2]) + 1:02}", exported_by()))


def test_the_order_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr("test_notebooks.ROOT", tmp_path)
    lesson = {"core": "00_core", "train": "04_train", "unet": "06_unet"}
    for code, wrong in [("from classypics.core import budget", 0), ("import classypics.unet", 1),
                        ("def f():\n    from classypics import UNet, InputError", 1), ("import classypics", 0),
                        ("from classypics.train import fit", 1)]:
        (tmp_path / "x.ipynb").write_text(json.dumps({"cells": [{"cell_type": "code", "source": code}]}))
        assert len(out_of_order(tmp_path / "x.ipynb", "04", lesson)) == wrong, code


@a_module
def test_a_module_is_light_at_its_top(module):
    allowed = sys.stdlib_module_names | {"classypics", "torch", "PIL"}
    wrong = [f"classypics/{module.name}:{line} imports {name}; do that inside the function that needs it"
             for name, line in imports(at_the_top(parsed(module))) if name.split(".")[0] not in allowed]
    wrong += [f"classypics/{module.name}:{line} imports {name}, which only notebooks need"
              for name, line in imports(ast.walk(parsed(module))) if name.split(".")[0] in {"nbdev", "fastcore"}]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("what", ["classypics", *(f"classypics.{m.stem}" for m in MODULES)])
def test_import_is_light(what):
    code = f"import sys, {what}; print(*sorted({HEAVY} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert not done.stdout.split(), f"`import {what}` loads {done.stdout.strip()}"


def test_every_public_name_is_there():
    package = importlib.import_module("classypics")
    assert package.__version__ == SETTINGS["version"]
    assert f"## [{package.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for owner in [package, *(importlib.import_module(f"classypics.{m.stem}") for m in MODULES)]:
        missing = [n for n in getattr(owner, "__all__", []) if not hasattr(owner, n)]
        assert not missing, f"{owner.__name__}.__all__ names {missing}, which are not there"


def test_requirements_cover_the_imports():
    asked = {canonicalize_name(Requirement(r).name) for r in SETTINGS["requirements"].split()}
    asked |= {canonicalize_name(Requirement(r).name) for r in SETTINGS["text_requirements"].split()}  # an extra
    extras = {canonicalize_name(Requirement(r).name) for r in SETTINGS["dev_requirements"].split()}
    owners = packages_distributions()
    for module in MODULES:
        for name, line in imports(ast.walk(parsed(module))):
            top = name.split(".")[0]
            if top == "classypics" or top in sys.stdlib_module_names:
                continue
            owned = {canonicalize_name(d) for d in owners.get(top, [top])}
            assert owned & asked, (f"classypics/{module.name}:{line} imports {top}; settings.ini does not require it"
                                   + (" outside development" if owned & extras else ""))


def test_constraints_fit_the_requirements():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(ln) for ln in lines if ln.strip() and not ln.startswith("#")]
    versions = {canonicalize_name(p.name): next(iter(p.specifier)).version for p in pins}
    assert all(next(iter(p.specifier)).operator == "==" for p in pins)
    for r in map(Requirement, (SETTINGS["requirements"] + " " + SETTINGS["dev_requirements"]).split()):
        pinned = versions.get(canonicalize_name(r.name))
        assert pinned is None or r.specifier.contains(pinned), f"{r.name}=={pinned} in constraints.txt is not {r}"
    unpinned = {canonicalize_name(Requirement(r).name) for r in SETTINGS["requirements"].split()} - versions.keys()
    assert not unpinned, f"constraints.txt says nothing of {sorted(unpinned)}"


def test_hooks_are_of_this_computer():
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    for hook in (hook for repo in repos for hook in repo["hooks"]):
        program = Path(hook["entry"].split()[0])
        assert program.parent == Path(".venv/bin") and (Path(sys.executable).parent / program.name).exists(), hook
    assert {(repo["repo"], hook["language"]) for repo in repos for hook in repo["hooks"]} == {("local", "system")}


def test_lint():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise", "."],
                          cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        pytest.fail(done.stdout + done.stderr, pytrace=False)


def test_sdist_and_wheel_hold_everything(tmp_path):
    pytest.importorskip("setuptools")
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("settings.ini", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    shutil.copytree(PACKAGE, tree / "classypics", ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "classypics/pretrained/probe").mkdir(parents=True)
    (tree / "classypics/pretrained/probe/model.safetensors").write_bytes(b"probe")
    done = subprocess.run([sys.executable, "setup.py", "sdist", "-d", tmp_path], cwd=tree, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run([sys.executable, "-m", "pip", "wheel", "--no-index", "--no-deps", "--no-build-isolation",
                           "--disable-pip-version-check", "-w", tmp_path, next(tmp_path.glob("*.tar.gz"))],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    wheel = zipfile.ZipFile(next(tmp_path.glob("*.whl")))
    files = {p.relative_to(ROOT).as_posix() for p in PACKAGE.rglob("*") if p.is_file() and p.suffix != ".pyc"}
    lacking = (files | {"classypics/pretrained/probe/model.safetensors"}) - set(wheel.namelist())
    assert not lacking, f"the wheel lacks {sorted(lacking)}"
    entry = next(n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    assert "classypics=classypics.cli:main" in wheel.read(entry).decode().replace(" ", "")
