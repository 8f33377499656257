"""Every notebook runs; every notebook is fit to be read; the package is what the notebooks export."""

import json, os, re, shutil, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from refresh import NBS, ROOT, WIDGET, code_hash, lessons, read, records, source

PACKAGE = ROOT / "classypics"
TOOLS = Path(sys.executable).parent  # the scripts of the environment that runs the tests
NOTEBOOKS = [p for p in sorted(NBS.rglob("*.ipynb"))
             if not any(n.startswith((".", "_")) for n in p.relative_to(NBS).parts)]

a_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.relative_to(NBS).with_suffix("").as_posix())


def cells(notebook: Path):
    "Each cell with words that lead a person to it."
    for i, cell in enumerate(read(notebook)["cells"]):
        first = (source(cell).strip().splitlines() or ["(empty)"])[0][:60]
        yield f"{notebook.relative_to(ROOT)}, cell {i} ({first!r})", cell


def shown(cell: dict):
    "The texts among a cell's outputs."
    for o in cell.get("outputs", []):
        yield "".join(o.get("text", []))
        yield from ("".join(v) for k, v in o.get("data", {}).items() if k.startswith("text/"))


def refuse(complaints: list[str]):
    "Fail with `complaints`, a line each, if there are any."
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)


# --- they run ---


def nbdev_test(notebook: Path, outputs: Path) -> str:
    "What is wrong with a quick run of `notebook`; empty if nothing is."
    env = os.environ | {"CLASSYPICS_OUTPUTS": str(outputs)}
    env.pop("CLASSYPICS_DATA", None)  # a quick run needs nothing but the embedded digits
    try:
        done = subprocess.run([TOOLS / "nbdev_test", "--path", notebook], cwd=ROOT, env=env, timeout=600, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except subprocess.TimeoutExpired as e:
        return f"{notebook.name} still ran after {e.timeout:.0f} s"
    return "" if done.returncode == 0 and done.stdout.rstrip().endswith("Success.") else done.stdout


def strays() -> set[Path]:
    "Files under nbs that are no notebooks: what a run might leave behind."
    return {p for p in NBS.rglob("*")
            if p.suffix != ".ipynb" and not any(n.startswith(".") for n in p.relative_to(NBS).parts)}


@pytest.fixture(scope="session")
def runs(request, tmp_path_factory):
    "The runs of all notebooks that were asked for, two at a time."
    wanted = [i.callspec.params["notebook"] for i in request.session.items if i.originalname == "test_notebook_runs"]
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        yield {n: pool.submit(nbdev_test, n, tmp_path_factory.mktemp("outputs")) for n in wanted}
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session")
def before():
    return strays()


@a_notebook
def test_notebook_runs(notebook, before, runs):
    refuse([problem] if (problem := runs[notebook].result()) else [])
    refuse([f"{p.relative_to(ROOT)} was left behind by a run; write to outputs_root()" for p in strays() - before])


# --- they are clean, and the package is what they export ---


@pytest.fixture
def copy(tmp_path):
    "A copy of all that cleaning and exporting read and write, so that the tree stays as it is."
    shutil.copy(ROOT / "settings.ini", tmp_path)
    shutil.copytree(NBS, tmp_path / "nbs", ignore=shutil.ignore_patterns(".*"))
    (tmp_path / "classypics").mkdir()
    shutil.copy(PACKAGE / "__init__.py", tmp_path / "classypics")
    return tmp_path


def call(program: str, cwd: Path):
    done = subprocess.run([TOOLS / program], cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"


def test_notebooks_are_clean(copy):
    call("nbdev_clean", copy)
    complaints = []
    for notebook in NOTEBOOKS:
        cleaned = copy / notebook.relative_to(ROOT)
        if notebook.read_text(encoding="utf-8") == cleaned.read_text(encoding="utf-8"):
            continue
        after = read(cleaned)["cells"]
        dirty = [where for (where, cell), clean in zip(cells(notebook), after) if cell != clean]
        complaints += dirty or [f"{notebook.relative_to(ROOT)}, its metadata or layout"]
    refuse([f"{c}: `make export` would change it" for c in complaints])


def test_exports_are_in_step(copy):
    call("nbdev_export", copy)
    here, there = ({p.name: p.read_text(encoding="utf-8") for p in folder.glob("*.py")}
                   for folder in (PACKAGE, copy / "classypics"))
    refuse([f"classypics/{n}: no notebook exports it; delete it" for n in sorted(here.keys() - there.keys())]
           + [f"classypics/{n}: missing; run `make export`" for n in sorted(there.keys() - here.keys())]
           + [f"classypics/{n}: its notebook says something else; run `make export`"
              for n in sorted(here.keys() & there.keys()) if here[n] != there[n]])


def test_numbers_are_unique():
    assert lessons(), "there are no lessons in nbs"
    numbers = {}
    for p in lessons():
        numbers.setdefault(p.name[:2], []).append(p.name)
    refuse([f"{p.relative_to(ROOT)}: a lesson is named by two digits, an underscore and a word" for p in lessons()
            if not re.fullmatch(r"\d\d_[a-z0-9_]+", p.stem)]
           + [f"number {n} is taken more than once: {', '.join(taken)}" for n, taken in numbers.items() if taken[1:]])


def test_outputs_are_current():
    recorded, complaints = records(), []
    for notebook in NOTEBOOKS:
        nb, lesson = read(notebook), notebook.parent == NBS and notebook.name[0].isdigit()
        entry = recorded.get(notebook.stem) if lesson else None
        if lesson and (entry is None or entry["code"] != code_hash(nb) or entry["budget"] != "full"):
            why = "was never refreshed" if entry is None else "has changed since its outputs were made"
            complaints.append(f"{notebook.relative_to(ROOT)} {why}: run `make refresh NB={notebook.name[:2]}`")
        if not lesson and any(c.get("outputs") for c in nb["cells"]):
            complaints.append(f"{notebook.relative_to(ROOT)}: only lessons store outputs; clear them")
    names = {p.stem for p in lessons()}
    refuse(complaints + [f"nbs/outputs.json speaks of {n}, which is no lesson" for n in recorded if n not in names])


# --- they are fit to be read ---

TOPS = "home|Users|root|tmp|private|var|opt|mnt|media|srv|content|workspace"
A_PATH = re.compile(rf"(?<![\w.:/\\~-])/(?:{TOPS})/[\w.-]+|\b[A-Z]:\\\\?\w+")
A_KEY = re.compile(r"\bhf_[A-Za-z0-9]{20,}|\bsk-[A-Za-z0-9_-]{20,}|\bgh[opsur]_[A-Za-z0-9]{20,}|\bAKIA[0-9A-Z]{16}\b"
                   r"|-----BEGIN [A-Z ]*PRIVATE KEY")
A_CLOCK = re.compile(r"Wall time:|CPU times:|\d(?:it/s|s/it)\b|\d%\|")
MOST_BYTES, MOST_LINES, MOST_WIDE = 500_000, 40, 120  # lines of code: without blank ones and comments


def found(text: str) -> list[str]:
    "Absolute paths and keys in `text`."
    own = [p for p in (str(ROOT), str(Path.home())) if re.search(re.escape(p) + r"(?![\w-])", text)]
    return own + A_PATH.findall(text) + [k[:8] + "..." for k in A_KEY.findall(text)]


@a_notebook
def test_notebook_is_presentable(notebook):
    size, complaints = notebook.stat().st_size, []
    if size > MOST_BYTES:
        complaints.append(f"{notebook.relative_to(ROOT)} has {size // 1000} kB, over {MOST_BYTES // 1000}")
    if "widgets" in read(notebook)["metadata"]:
        complaints.append(f"{notebook.relative_to(ROOT)} holds saved widget state")
    for where, cell in cells(notebook):
        code = [ln for ln in source(cell).splitlines() if ln.strip() and not ln.strip().startswith("#")]
        if re.match(r"\s*#\|\s*export", source(cell)):
            if len(code) > MOST_LINES:
                complaints.append(f"{where} exports {len(code)} lines, over {MOST_LINES}")
            complaints += [f"{where} exports a line of {len(ln)} characters, over {MOST_WIDE}: {ln.strip()[:40]}"
                           for ln in code if len(ln) > MOST_WIDE]
        for o in cell.get("outputs", []):
            if WIDGET in o.get("data", {}):
                complaints.append(f"{where} shows a widget, which reopens dead")
            if o.get("name") == "stderr":
                complaints.append(f"{where} shows stderr")
            if o["output_type"] == "error":
                complaints.append(f"{where} shows a traceback")
        if any(A_CLOCK.search(text) for text in shown(cell)):
            complaints.append(f"{where} shows a timing or a progress bar")
        for text in (source(cell), *shown(cell)):
            complaints += [f"{where} contains {what}" for what in found(text)]
    refuse(complaints)


LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)|(?:src|href)=[\"']([^\"']+)")
PAGES = [p for p in sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("[a-z]*/*.md"))]


def links(text: str, folder: Path):
    "The targets of relative links in Markdown `text` that do not exist."
    for groups in LINK.findall(re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)):
        target = "".join(groups).split("#")[0].split("?")[0]
        if target and not re.match(r"[a-z]+:|//", target) and not (folder / target).exists():
            yield target


def test_links_lead_somewhere():
    complaints = [f"{where} links to {target}, which is not there" for notebook in NOTEBOOKS
                  for where, cell in cells(notebook) if cell["cell_type"] == "markdown"
                  for target in links(source(cell), notebook.parent)]
    refuse(complaints + [f"{page.relative_to(ROOT)} links to {target}, which is not there" for page in PAGES
                         for target in links(page.read_text(encoding="utf-8"), page.parent)])


def test_the_checks_see_what_they_look_for():
    assert found("saved to /home/ann/x.png") and found("token hf_" + "a" * 30) and found(f"open('{ROOT}/nbs')")
    assert not found("see https://example.org/home/ann, outputs/demo, ~/photos, and/or, 3/4")
    assert list(links("[a](nowhere.md) ![b](c.png) <img src='d.png'>", ROOT)) == ["nowhere.md", "c.png", "d.png"]
    assert not list(links("[a](https://x.org) [b](#here) [c](README.md#top) `[d](e)`", ROOT))
    assert A_CLOCK.search(" 40%|####      | 4/10 [00:01<00:02, 2.9it/s]")
    assert not A_CLOCK.search("agreement 90% | n 100")
    assert code_hash({"cells": [{"cell_type": "code", "source": ["a\n", "b"]}]}) == code_hash(
        json.loads('{"cells": [{"cell_type": "markdown", "source": "x"}, {"cell_type": "code", "source": "a\\nb"}]}'))
