"""Re-run lessons in place with the full budget, store what they show, and record of which code it is.

    .venv/bin/python tools/refresh.py            every lesson, and nbs/index.ipynb
    .venv/bin/python tools/refresh.py 07 10      some, by number or by name

A lesson runs in a process of its own, in its own folder: where Jupyter and nbdev_test run it too. Data is looked for
under CLASSYPICS_DATA (`data` if it is not set) and results go to CLASSYPICS_OUTPUTS (`outputs`); both are made absolute
here, so that a relative one means "seen from where you called". Cells that nbdev_test would skip are not run and keep
what they show. Not stored: what goes to stderr (bars, warnings; printed here instead), widgets, and anything of a
lesson that fails.
"""

import ast, base64, hashlib, io, json, os, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NBS = ROOT / "nbs"
RECORDS = NBS / "outputs.json"  # {lesson: {"code": hash, "budget": "full", "data": {name: fingerprint}}}
WIDGET = "application/vnd.jupyter.widget-view+json"


def lessons() -> list[Path]:
    "The numbered notebooks, in order."
    return sorted(NBS.glob("[0-9]*.ipynb"))


def pages() -> list[Path]:
    "The notebooks that store what they show: the lessons, and the way in."
    return [*lessons(), *NBS.glob("index.ipynb")]


def read(notebook: Path) -> dict:
    "A notebook as its JSON."
    return json.loads(notebook.read_text(encoding="utf-8"))


def source(cell: dict) -> str:
    "The text of a cell, however it is stored."
    return "".join(cell["source"])


def told(node) -> str:
    "A syntax tree as a text that is the same in every Python; `ast.dump` tells empty fields in some of them."
    if isinstance(node, ast.JoinedStr):  # a format such as {x:{wide}} ends in an empty text from 3.12 on
        node.values = [v for v in node.values if not (isinstance(v, ast.Constant) and v.value == "")]
    if isinstance(node, ast.AST):
        fields = [(k, v) for k, v in ast.iter_fields(node) if v is not None and v != []]
        return f"{type(node).__name__}({', '.join(f'{k}={told(v)}' for k, v in fields)})"
    return f"[{', '.join(map(told, node))}]" if isinstance(node, list) else repr(node)


def code_hash(nb: dict) -> str:
    "A hash of what the code cells do: prose, comments and layout may change without making outputs stale."
    code = "\n".join(source(c) for c in nb["cells"] if c["cell_type"] == "code")
    return hashlib.sha256(told(ast.parse(code)).encode()).hexdigest()[:16]


def records() -> dict:
    "What is recorded of the stored outputs, by lesson."
    return json.loads(RECORDS.read_text(encoding="utf-8")) if RECORDS.exists() else {}


def chosen(names: list[str]) -> list[Path]:
    "The lessons meant by numbers (`7`, `07`) or names (`07_denoiser`); all without any."
    every = pages()
    found = {n: [p for p in every if p.stem == Path(n).stem or p.stem.startswith(f"{n.zfill(2)}_")] for n in names}
    if missing := [n for n in names if not found[n]]:
        sys.exit(f"no lesson {', '.join(missing)}; lessons: {', '.join(p.stem for p in every)}")
    return sorted({p for n in names for p in found[n]}) if names else every


def small(png: str) -> str:
    "A picture (base64) with at most 256 colours: a third of the size, and grey ones lose nothing."
    from PIL import Image

    image, file = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"), io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(file, "png", optimize=True)
    return min(png, base64.b64encode(file.getvalue()).decode(), key=len)


def storable(outputs: list[dict]) -> list[dict]:
    "`outputs` with small pictures, and without stderr, widgets, and the JPEG that PIL images offer beside PNG."
    for o in outputs:
        if "image/png" in o.get("data", {}):
            o["data"].pop("image/jpeg", None)
            o["data"]["image/png"] = small("".join(o["data"]["image/png"]))
    return [o for o in outputs if o.get("name") != "stderr" and WIDGET not in o.get("data", {})]


def run(notebook: Path):
    "Run one lesson in this process and, if it ends well, store its outputs and their record."
    from execnb.nbio import nb2str
    from execnb.shell import CaptureShell
    from nbdev.clean import clean_nb
    from nbdev.config import get_config
    from nbdev.process import NBProcessor
    from tqdm import tqdm

    sys.path.insert(0, str(ROOT))
    from classypics.core import replacing

    os.chdir(notebook.parent)
    stored, runnable = read(notebook), NBProcessor(notebook).nb.cells
    before, skipped = code_hash(stored), set(get_config().tst_flags.split())
    shell, data = CaptureShell(notebook), {}
    pairs = [(s, c) for s, c in zip(stored["cells"], runnable) if c.cell_type == "code"]
    with tqdm(pairs, desc=notebook.stem, unit="cell", file=sys.__stderr__, disable=None) as bar:
        for cell, code in bar:
            directives = code.directives_ or {}
            if skipped & directives.keys() or directives.get("eval:", [""])[0].lower() == "false":
                continue
            bar.set_postfix_str((code.source.strip().splitlines() or [""])[0][:40])
            outputs = shell.run(code.source)
            for said in (o for o in outputs if o.get("name") == "stderr"):
                bar.write("".join(said["text"]), file=sys.__stderr__)
            if shell.exc:
                shell._cell_idx = code.idx_ + 1
                bar.write(shell.prettytb(fname=notebook.name), file=sys.__stderr__)
                sys.exit(1)
            cell["outputs"] = storable(outputs)
            for value in list(shell.user_ns.values()):
                if type(value).__name__ == "Data":  # classypics.data.Data, or the one the lesson about it defines
                    data[value.name] = value.train.fingerprint
        bar.set_postfix_str("")
    clean_nb(stored)
    if code_hash(read(notebook)) != before:
        sys.exit(f"{notebook.name} was edited while it ran: nothing is stored, run it again")
    with replacing(notebook) as tmp:
        tmp.write_text(nb2str(stored), encoding="utf-8")
    names = {p.stem for p in pages()}
    kept = {k: v for k, v in records().items() if k in names}
    kept[notebook.stem] = {"code": before, "budget": "full", "data": data}
    with replacing(RECORDS) as tmp:
        tmp.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{notebook.relative_to(ROOT)}: outputs stored")


def main(names: list[str]):
    "Run the chosen lessons one after the other, each in a fresh process."
    places = {k: str(Path(os.environ.get(k, ROOT / d)).expanduser().absolute())
              for k, d in [("CLASSYPICS_DATA", "data"), ("CLASSYPICS_OUTPUTS", "outputs")]}
    env = os.environ | places | {"CLASSYPICS_BUDGET": "full", "PYTHONHASHSEED": "0"}
    failed = []
    for notebook in chosen(names):
        if subprocess.run([sys.executable, __file__, "--alone", str(notebook)], env=env).returncode:
            failed.append(notebook.stem)
    if failed:
        sys.exit(f"not refreshed: {', '.join(failed)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        run(Path(sys.argv[2]).absolute())
    else:
        main(sys.argv[1:])
