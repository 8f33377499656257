"""Every notebook runs; every notebook is fit to be read; the package is what the notebooks export."""

import json, os, re, shutil, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from refresh import NBS, ROOT, WIDGET, code_hash, lessons, pages, read, records, source

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
    for by_hand in ("__init__.py", "__main__.py"):
        shutil.copy(PACKAGE / by_hand, tmp_path / "classypics")
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
        nb, lesson = read(notebook), notebook in pages()
        entry = recorded.get(notebook.stem) if lesson else None
        if lesson and (entry is None or entry["code"] != code_hash(nb) or entry["budget"] != "full"):
            why = "was never refreshed" if entry is None else "has changed since its outputs were made"
            number = notebook.stem.split("_")[0]
            complaints.append(f"{notebook.relative_to(ROOT)} {why}: run `make refresh NB={number}`")
        if not lesson and any(c.get("outputs") for c in nb["cells"]):
            complaints.append(f"{notebook.relative_to(ROOT)}: only lessons and the index store outputs; clear them")
    names = {p.stem for p in pages()}
    refuse(complaints + [f"nbs/outputs.json speaks of {n}, which stores none" for n in recorded if n not in names])


# --- they are fit to be read ---

TOPS = "home|Users|root|tmp|private|var|opt|mnt|media|srv|content|workspace"
A_PATH = re.compile(rf"(?<![\w.:/\\~-])/(?:{TOPS})/[\w.-]+|\b[A-Z]:\\\\?\w+")
A_KEY = re.compile(r"\bhf_[A-Za-z0-9]{20,}|\bsk-[A-Za-z0-9_-]{20,}|\bgh[opsur]_[A-Za-z0-9]{20,}|\bAKIA[0-9A-Z]{16}\b"
                   r"|-----BEGIN [A-Z ]*PRIVATE KEY")
A_CLOCK = re.compile(r"Wall time:|CPU times:|\d(?:it/s|s/it)\b|\d%\|")
MOST_BYTES, MOST_LINES, MOST_WIDE = 500_000, 42, 120  # lines of code without blanks and comments; `Recipe` has 42


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
        if cell["cell_type"] == "code" and len(code) > MOST_LINES:
            complaints.append(f"{where} has {len(code)} lines of code, over {MOST_LINES}")
        if re.match(r"\s*#\|\s*export", source(cell)):
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
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("[a-z]*/*.md")), *sorted(PACKAGE.glob("pretrained/*/*.md"))]


def anchors(page: Path) -> set[str]:
    "What a link may name after `#` in a page of Markdown: its headings, as GitHub spells them."
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"^#+ +(.+?) *$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def links(text: str, folder: Path):
    "The targets of relative links in Markdown `text` that do not exist."
    for groups in LINK.findall(re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)):
        if re.match(r"[a-z]+:|//", link := "".join(groups)):
            continue
        target, _, anchor = link.partition("#")
        page = folder / target.split("?")[0]
        if not page.exists() or (anchor and page.suffix == ".md" and anchor not in anchors(page)):
            yield link


def test_links_lead_somewhere():
    complaints = [f"{where} links to {target}, which is not there" for notebook in NOTEBOOKS
                  for where, cell in cells(notebook) if cell["cell_type"] == "markdown"
                  for target in links(source(cell), notebook.parent)]
    refuse(complaints + [f"{page.relative_to(ROOT)} links to {target}, which is not there" for page in PAGES
                         for target in links(page.read_text(encoding="utf-8"), page.parent)])


# --- a lesson is a lesson ---

SOLUTIONS, INDEX = NBS / "solutions", NBS / "index.ipynb"
PARTS = ["All together", "Three things to remember", "Exercises"]  # in this order, each once, at the end
COLAB = "https://colab.research.google.com/github/classypics/classypics/blob/main/nbs/"
GUARD = 'if "google.colab" in sys.modules:'

a_lesson = pytest.mark.parametrize("notebook", lessons(), ids=lambda p: p.stem)


def headings(notebook: Path):
    "Each heading of a notebook as (level, text, words that lead a person to its cell)."
    for where, cell in cells(notebook):
        if cell["cell_type"] == "markdown":
            prose = re.sub(r"^```.*?^```", "", source(cell), flags=re.DOTALL | re.MULTILINE)
            yield from ((len(m[1]), m[2].strip(), where) for m in re.finditer(r"^(#+) +(.+)$", prose, re.MULTILINE))


def exercises(notebook: Path) -> dict[str, str]:
    "The exercises of a lesson, or of its solutions: heading -> where it stands."
    return {text: where for level, text, where in headings(notebook) if level == 3 and text.startswith("Exercise")}


def misnumbered(notebook: Path) -> list[str]:
    "Complaints about exercises that are not called 'Exercise N: title' with N from 1 on."
    return [f"{where}: '{text}' should be 'Exercise {n}: a title'" for n, (text, where)
            in enumerate(exercises(notebook).items(), 1) if not re.fullmatch(rf"Exercise {n}: \S.*", text)]


def lacking(notebook: Path, following: Path | None) -> list[str]:
    "What a lesson should have and has not."
    name, found, top = notebook.relative_to(ROOT), list(headings(notebook)), source(read(notebook)["cells"][0])
    complaints = []
    if not re.match(rf"# {notebook.name[:2]} · \S.*\n\n> \S.*(\n|$)", top):
        complaints.append(f"{name}, cell 0: begins with '# {notebook.name[:2]} · Title', then '> ' and a subtitle")
    complaints += [f"{where}: '{text}' is a second title" for level, text, where in found[1:] if level == 1]
    parts = [text for level, text, _ in found if level == 2 and text in PARTS]
    if parts != PARTS:
        complaints.append(f"{name} should end in {', '.join(PARTS)}, each once; it has {', '.join(parts) or 'none'}")
    if not 2 <= len(exercises(notebook)) <= 4:
        complaints.append(f"{name} has {len(exercises(notebook))} exercises ('### Exercise 1: title'), not two to four")
    prose = "\n".join(source(c) for c in read(notebook)["cells"] if c["cell_type"] == "markdown")
    if following and f"]({following.name})" not in prose:
        complaints.append(f"{name} does not link to the next lesson, {following.name}")
    if exercises(notebook) and f"](solutions/{notebook.stem}.ipynb)" not in prose:
        complaints.append(f"{name} does not link to its solutions, solutions/{notebook.stem}.ipynb")
    return complaints + misnumbered(notebook)


@a_lesson
def test_a_lesson_has_its_parts(notebook):
    refuse(lacking(notebook, next(iter(lessons()[lessons().index(notebook) + 1 :]), None)))


@pytest.mark.parametrize("notebook", [INDEX, *lessons()], ids=lambda p: p.stem)
def test_a_lesson_opens_in_colab(notebook):
    found = list(cells(notebook))
    code = [source(c) for _, c in found if c["cell_type"] == "code" and "default_exp" not in source(c)]
    complaints = [] if f"]({COLAB}{notebook.name})" in source(found[0][1]) else [
        f"{found[0][0]}: has no badge that leads to {COLAB}{notebook.name}"]
    if not code or GUARD not in code[0]:
        complaints.append(f"{notebook.relative_to(ROOT)}: its first code cell is not the one that begins `{GUARD}`")
    complaints += [f"{where} installs something, unasked" for where, cell in found if cell["cell_type"] == "code"
                   and re.search(r"^\s*[!%].*\bpip\b|(system|run|call)\(.*\bpip\b", source(cell), re.MULTILINE)
                   and GUARD not in source(cell)]
    refuse(complaints)


def unsolved(lesson: Path, solution: Path) -> list[str]:
    "Where the exercises of a lesson and their solutions part."
    theirs, ours, complaints = exercises(lesson), exercises(solution), misnumbered(solution)
    complaints += [f"{where}: '{text}' is not solved in {solution.relative_to(ROOT)}"
                   for text, where in theirs.items() if text not in ours]
    complaints += [f"{where}: '{text}' solves no exercise of {lesson.relative_to(ROOT)}"
                   for text, where in ours.items() if text not in theirs]
    title = source(read(lesson)["cells"][0]).partition("\n")[0].removeprefix("# ")
    if not source(read(solution)["cells"][0]).startswith(f"# Solutions to {title}\n"):
        complaints.append(f"{solution.relative_to(ROOT)}, cell 0: begins with '# Solutions to {title}'")
    code, at = {}, None
    for _, cell in cells(solution):
        if cell["cell_type"] == "markdown":
            at = next((text for text in ours if f"### {text}" in source(cell).splitlines()), at)
        else:
            code[at] = code.get(at, "") + source(cell) + "\n"
    if not re.search(r"^\s*(from|import) classypics", "\n".join(code.values()), re.MULTILINE):
        complaints.append(f"{solution.relative_to(ROOT)} does not import the package")
    return complaints + [f"{where}: '{text}' has no assert" for text, where in ours.items()
                         if not re.search(r"\bassert\b|\bassert_close\b", code.get(text, ""))]


@a_lesson
def test_exercises_are_solved(notebook):
    solution = SOLUTIONS / notebook.name
    if not solution.exists():
        refuse([f"{where}: '{text}' is not solved; {solution.relative_to(ROOT)} is not there"
                for text, where in exercises(notebook).items()] or [f"{solution.relative_to(ROOT)} is not there"])
    refuse(unsolved(notebook, solution))


def test_solutions_have_their_lesson():
    names = {p.name for p in lessons()}
    refuse([f"{p.relative_to(ROOT)} belongs to no lesson" for p in sorted(SOLUTIONS.glob("*.ipynb"))
            if p.name not in names])


def test_the_index_knows_every_lesson():
    prose = "\n".join(source(c) for c in read(INDEX)["cells"] if c["cell_type"] == "markdown")
    rows = re.findall(r"^\| \[(\d\d) · [^\]]+\]\(([^)]+)\) \| \S.*\? \| \d+ \|$", prose, re.MULTILINE)
    assert [name for _, name in rows] == [p.name for p in lessons()], "the course map in nbs/index.ipynb"
    assert all(name.startswith(number) for number, name in rows)


def test_the_lesson_checks_see_what_they_look_for(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)

    def written(name, *texts):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        kinds = [("code", t[3:]) if t.startswith("py ") else ("markdown", t) for t in texts]
        path.write_text(json.dumps({"cells": [{"cell_type": kind, "source": text} for kind, text in kinds]}))
        return path

    top, end = "# 03 · Noise\n\n> All of it.\n\nText.", [f"## {part}" for part in PARTS]
    one, two = "### Exercise 1: Add\n\nDo.", "### Exercise 2: Take away\n\nDo it. [How](solutions/03_noise.ipynb)"
    lesson = written("03_noise.ipynb", top, *end, one, "py 1", two, "Next: [04](04_train.ipynb)")
    assert not lacking(lesson, tmp_path / "04_train.ipynb") and not lacking(lesson, None)
    assert "04_more.ipynb" in " ".join(lacking(lesson, tmp_path / "04_more.ipynb"))
    for broken, word in [
        ((top[2:], *end, one, two), "begins with"),
        ((top, end[1], end[0], end[2], one, two), "should end in"),
        ((top, *end, two.replace("2", "1")), "not two to four"),
        ((top, *end, one, two.replace("2", "3")), "should be 'Exercise 2: "),
        ((top, "# More", *end, one, two), "a second title"),
        ((top, *end, one, two[:24]), "its solutions"),
    ]:
        said = lacking(written("03_noise.ipynb", *broken), None)
        assert len(said) == 1 and word in said[0], said
    lesson = written("03_noise.ipynb", top, *end, one, two)
    solved = ["# Solutions to 03 · Noise\n", one, "py import classypics\nassert 1", two, "py assert 1 - 1 == 0"]
    assert not unsolved(lesson, written("solutions/03_noise.ipynb", *solved))
    for i, text, word in [(0, "# Solutions", "begins with"), (1, "### Exercise 1: Ad", "is not solved"),
                          (1, "### Exercise 1: Ad", "solves no exercise"), (4, "py 1", "has no assert"),
                          (2, "py assert 1", "import the package")]:
        other = written("solutions/03_noise.ipynb", *solved[:i], text, *solved[i + 1 :])
        assert word in " ".join(unsolved(lesson, other)), (word, unsolved(lesson, other))


def test_the_checks_see_what_they_look_for():
    assert found("saved to /home/ann/x.png") and found("token hf_" + "a" * 30) and found(f"open('{ROOT}/nbs')")
    assert not found("see https://example.org/home/ann, outputs/demo, ~/photos, and/or, 3/4")
    assert list(links("[a](nowhere.md) ![b](c.png) <img src='d.png'>", ROOT)) == ["nowhere.md", "c.png", "d.png"]
    assert not list(links("[a](https://x.org) [b](#here) [c](README.md#the-course) `[d](e)`", ROOT))
    assert list(links("[a](README.md#top)", ROOT)) == ["README.md#top"]
    assert A_CLOCK.search(" 40%|####      | 4/10 [00:01<00:02, 2.9it/s]")
    assert not A_CLOCK.search("agreement 90% | n 100")
    assert code_hash({"cells": [{"cell_type": "code", "source": ["a\n", "b"]}]}) == code_hash(
        json.loads('{"cells": [{"cell_type": "markdown", "source": "x"}, {"cell_type": "code", "source": "a\\nb"}]}'))
    formatted = 'class A:\n    def f(self, x, *, wide=3):\n        return f"{x:{wide}}" + ""'
    assert code_hash({"cells": [{"cell_type": "code", "source": formatted}]}) == "ed6476a8bd2a62c0"  # in every Python
