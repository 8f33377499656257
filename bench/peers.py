"""This project against its peers: the same minutes, pictures, cores and judge.

    make bench                                    10 minutes a system, Fashion-MNIST, then CIFAR-10 where it is at hand
    MINUTES=4 make bench                          the short form, on Fashion-MNIST alone
    .venv/bin/python bench/peers.py --help        one set, some of the systems, fewer pictures

Can be stopped at any moment and goes on when started again; what is finished is not done again. Every system trains in
processes of its own, in four turns each, one after the other, so that a noisy machine is noisy to all. Counted are the
seconds of training alone: no imports, no loading, no saving (but what trains by `fit` pays for its checkpoints, and
`classypics` and `trial` for previews). Then each draws, in the proportions of the training pictures, for at most half
its minutes but no fewer than FID takes, and one `FeatureNet`, trained beforehand and the same for all, judges. Results
lie in outputs/bench/peers/<data>-<minutes>/<system>/: result.json, grid.png, and what it takes to go on.
"""

import argparse, contextlib, datetime, fcntl, importlib.util, json, math, os, platform, resource, statistics, subprocess
import sys, time
from pathlib import Path

import torch
from systems import SYSTEMS, Peer

from classypics.core import data_roots, generator, outputs_root, picture_grid, replacing
from classypics.data import load_data
from classypics.metrics import agreement, fid, look, score, train_judge
from classypics.recipe import save_image

TURNS = 4  # a system's training is cut into so many
AT_ONCE = 64  # pictures drawn at once
FEWEST = 640  # pictures that FID takes through the judge's 64 features
JUDGE = 1  # its seed: our recipe was chosen by the judge of seed 0


# Turns and files: what the process that is started does


def next_turn(turns: dict, most: int = TURNS) -> str | None:
    "The system that has had the fewest turns, the first of them in order; None when all have had `most`."
    waiting = [name for name, had in turns.items() if had < most]
    return min(waiting, key=turns.get) if waiting else None  # the first of the smallest


def read(path: Path, default):
    return json.loads(path.read_text()) if path.exists() else default


def write(path: Path, what) -> None:
    with replacing(path) as tmp:
        tmp.write_text(json.dumps(what, indent=1) + "\n")


def run_folder(source: str, minutes: float) -> Path:
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in source)
    return (outputs_root() / "bench" / "peers" / f"{name}-{minutes:g}").absolute()


def child(stage: str, system: str, data: str, minutes: float, **options) -> None:
    "One stage of one system in a process of its own; if that fails or is stopped, so is everything."
    said = dict(stage=stage, system=system, data=data, minutes=minutes, **options)
    turn = f" {options['turn']} of {TURNS}" if "turn" in options else ""
    print(f"{time.strftime('%H:%M:%S')} {data}, {minutes:g} min: {system}, {stage}{turn}", flush=True)
    command, quiet = [sys.executable, __file__, "--child", json.dumps(said)], {"TQDM_DISABLE": "1"}
    with subprocess.Popen(command, env=os.environ | quiet) as process:
        interrupted = False
        while (status := process.poll()) is None:
            try:
                process.wait()
            except KeyboardInterrupt:  # the child hears it too, and saves
                interrupted = True
    if status or interrupted:
        sys.exit(f"{system} stopped (exit status {status}); start again to go on where it was")


def compare(data: str, minutes: float, systems: list[str], *, pictures: int, makers: int) -> dict:
    "Train, draw with and score `systems`, as far as that is not done yet; their results by name."
    folder, asked = run_folder(data, minutes), {"pictures": pictures, "makers": makers}
    result = lambda name: read(folder / name / "result.json", {})
    waiting = [name for name in systems if result(name).get("asked") != asked]
    had = read(folder / "turns.json", {})
    turns = {name: had.get(name, 0) for name in waiting}
    if waiting:
        child("judge", "judge", data, minutes)
    while name := next_turn(turns):
        child("learn", name, data, minutes, turn=turns[name] + 1)
        turns[name] += 1
        write(folder / "turns.json", had | turns)
    for name in waiting:
        child("draw", name, data, minutes, pictures=pictures)
        if makers and SYSTEMS[name].by_makers:
            child("draw as its makers", name, data, minutes, pictures=makers)
        child("score", name, data, minutes, **asked)
    return {name: result(name) for name in systems}


# A stage: what the processes do


def peak_memory() -> float:
    "The most memory this process held, in MB. Linux counts a large parent into `ru_maxrss`, but not here."
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def spread_labels(labels, n: int):
    "`n` rows of labels of which any first part is in the proportions of all `labels`, to within one of each row."
    rows, kind, counts = labels.unique(dim=0, return_inverse=True, return_counts=True)
    order = kind.argsort(stable=True)  # row after row
    first = counts.cumsum(0) - counts
    place = torch.empty(len(labels), dtype=torch.float64)
    place[order] = (torch.arange(len(labels)) - first[kind[order]] + 0.5).double() / counts[kind[order]]
    return labels[place.argsort(stable=True)][:n]


def learn(system, folder: Path, minutes: float, turn: int) -> None:
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: reading a state back is not training
    before = time.perf_counter()
    system.learn(60 * minutes * turn / TURNS if turn < TURNS else math.inf)
    facts = read(folder / "learned.json", {"wall": 0.0, "memory": 0.0})
    wall, memory = facts["wall"] + time.perf_counter() - before, max(facts["memory"], peak_memory())
    write(folder / "learned.json", {"seconds": system.seconds, "seen": system.seen, "wall": wall, "memory": memory})


def draw(system, folder: Path, labels, *, limit: float, makers: bool = False) -> None:
    "Draw for `labels`, batch after batch, kept at once; from `limit` seconds on no more than FID takes."
    path, rows = folder / ("makers.pt" if makers else "drawn.pt"), 0
    kept = torch.load(path, weights_only=True) if path.exists() else {"pictures": [], "seconds": [], "rows": 0}
    net = system.ready(makers)

    def count(module, arguments):
        nonlocal rows
        rows += len(arguments[0])

    net.register_forward_pre_hook(count)
    at_once = min(AT_ONCE, len(labels))
    while (done := sum(map(len, kept["pictures"]))) < len(labels):
        if done >= FEWEST and sum(kept["seconds"]) > limit:
            break
        if not (kept["seconds"] or makers):  # warm up
            system.draw(labels[:1], done)
            rows = 0
        before = time.perf_counter()
        part = system.draw(labels[done : done + at_once], done)
        kept["seconds"].append(time.perf_counter() - before)
        kept["pictures"].append(part)
        kept["rows"], rows = kept["rows"] + rows, 0
        how = system.by_makers if makers else system.drawn
        with replacing(path) as tmp:
            torch.save(kept | {"parameters": system.parameters(), "how": how}, tmp)


def drawn(path: Path, *, most: int) -> dict:
    "The first `most` that were drawn there, and the median seconds a picture."
    kept = torch.load(path, weights_only=True)
    each = [s / len(p) for s, p in zip(kept["seconds"], kept["pictures"])]
    everything = torch.cat(kept["pictures"])
    pictures = everything[:most]
    facts = {"n": len(pictures), "seconds_a_picture": statistics.median(each), "how": kept["how"]}
    facts |= {"evaluations": kept["rows"] / len(everything), "parameters": kept["parameters"]}
    return {"pictures": pictures, "facts": facts}


def fid_deviation(seen, real, *, times: int = 50) -> float:
    "The deviation of FID over bootstraps of the drawn pictures' features `seen`."
    draw = generator(0, "bootstrap")
    picks = (torch.randint(len(seen), (len(seen),), generator=draw) for _ in range(times))
    return statistics.stdev(fid(real, seen[pick], network=None) for pick in picks)


def score_drawn(result: dict, data, folder: Path, labels) -> None:
    "result.json and grid.png: everything about a system that is trained and has drawn."
    judge, found = train_judge(data.train, seed=JUDGE), drawn(folder / "drawn.pt", most=len(labels))
    pictures, n = found["pictures"], found["facts"]["n"]
    scores = score(pictures, labels[:n], data, network=judge)
    figures = {f.name: f for f in scores.figures}
    result |= {"date": datetime.date.today().isoformat(), "machine": machine()}
    result |= read(folder / "learned.json", {}) | found["facts"]
    for title in ("FID", "KID", "agreement"):
        for whose in ("drawn", "real") if title in figures else ():
            result[f"{title} {whose}"] = vars(getattr(figures[title], whose))
    if "FID" in figures:
        real = data.train.pictures(torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:n])
        result["FID deviation"] = fid_deviation(look(pictures, judge)[0], look(real, judge)[0])
    if (folder / "makers.pt").exists():
        other = drawn(folder / "makers.pt", most=len(labels))
        seen = agreement(other["pictures"], labels[: other["facts"]["n"]], network=judge).overall
        mine = agreement(pictures[: seen.n], labels[: seen.n], network=judge).overall
        result["makers"] = other["facts"] | {"agreement": vars(seen), "agreement here": vars(mine)}
    rows = [(labels[:n, 0] == c).nonzero()[:8, 0] for c in range(min(len(data.train.classes), 12))]
    wide = max(1, min(map(len, rows)))
    at = torch.cat([r[:wide] for r in rows])
    grid = picture_grid(pictures[at], columns=wide, row_labels=[data.train.classes[c] for c in range(len(rows))])
    save_image(grid, folder / "grid.png")
    write(folder / "result.json", result)


def machine() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    name = names[0].split(":")[1].strip() if names else platform.processor()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def run_stage(stage: str, system: str, data: str, minutes: float, *, turn=0, pictures=0, makers=0) -> None:
    "What a process of its own does: one stage of one system."
    folder, pictures_of = run_folder(data, minutes) / system, load_data(data)
    if stage == "judge":
        train_judge(pictures_of.train, seed=JUDGE)
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = open(folder / "lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)  # where a killed bench left a stage behind, it comes to its end first
    it, labels = SYSTEMS[system](data, pictures_of, folder, minutes), spread_labels(pictures_of.train.labels, pictures)
    if stage == "learn":
        learn(it, folder, minutes, turn)
    elif stage == "score":
        result = {"system": system, "asked": {"pictures": pictures, "makers": makers}, "trained": it.trained}
        score_drawn(result, pictures_of, folder, labels)
    else:
        draw(it, folder, labels, limit=30 * minutes, makers=stage != "draw")


# Tables


def above(result: dict) -> float:
    "FID above that of as many real test pictures."
    return result["FID drawn"]["value"] - result["FID real"]["value"] if "FID drawn" in result else math.nan


def interval(share: dict) -> str:
    return f"{share['value']:.3f} ({share['low']:.3f} to {share['high']:.3f})"


def row(result: dict, ours: dict) -> list[str]:
    "A system's line in the table."
    quality = ["", "", ""]
    if "FID drawn" in result:
        half = 1.96 * result["FID deviation"]
        times = above(result) / above(ours) if above(ours) > 0 else math.nan
        quality = [f"{result['FID drawn']['value']:.3g} ± {half:.2g} (real {result['FID real']['value']:.2g})"]
        quality += [f"{above(result):.3g}", "" if result is ours or not times > 0 else f"{times:.2g}"]
    kid = result["KID drawn"]
    return [
        result["system"], f"{result['seen']:,}", f"{result['n']:,}", *quality,
        f"{kid['value']:.3g} ± {kid['spread']:.2g}",
        f"{interval(result['agreement drawn'])}, real {result['agreement real']['value']:.3f}",
        f"{result['parameters'] / 1e6:.2f} M", f"{result['memory'] / 1e3:.2f} GB",
        f"{result['seconds_a_picture']:.3g}", f"{result['evaluations']:.0f}", result["how"],
    ]  # fmt: skip


COLUMNS = ("system", "pictures seen", "n", "FID", "above real", "times classypics", "KID", "agreement", "parameters")
COLUMNS += ("memory", "s a picture", "evaluations", "drawn by")


def table(results: dict, ours: dict | None = None) -> str:
    "Markdown: a row a system, and what else there is to say."
    ours = ours or results.get("classypics") or next(iter(results.values()))
    lines = [" | ".join(["", *cells, ""]).strip() for cells in (COLUMNS, ["---"] * len(COLUMNS))]
    lines += [" | ".join(["", *row(r, ours), ""]).strip() for r in results.values()]
    lines += ["", *(f"- {r['system']}: {r['trained']}; {r['seconds']:.0f} s of training, {r['wall']:.0f} s with "
                    "starting and saving" for r in results.values())]  # fmt: skip
    for r in results.values():
        if "makers" in r:
            m = r["makers"]
            lines.append(
                f"- {r['system']} as its makers draw ({m['how']}; {m['evaluations']:.0f} evaluations, "
                f"{m['seconds_a_picture']:.3g} s a picture), n = {m['n']}: agreement {interval(m['agreement'])}; "
                f"of as many drawn as in the table: {interval(m['agreement here'])}"
            )
    return "\n".join([*lines, f"- {', '.join(sorted({r['machine'] + ', ' + r['date'] for r in results.values()}))}"])


def best_peer(results: dict) -> str | None:
    "The peer of the lowest FID above real."
    scored = [name for name, r in results.items() if issubclass(SYSTEMS[name], Peer) and "FID drawn" in r]
    return min(scored, key=lambda name: above(results[name])) if scored else None


def side_by_side(folder: Path, systems: list[str], data) -> None:
    "peers.png in `folder`: a row a system, a column a class, the first that each drew of it."
    pictures = [drawn(folder / name / "drawn.pt", most=FEWEST)["pictures"] for name in systems]
    labels = spread_labels(data.train.labels, min(map(len, pictures)))[:, 0].tolist()
    firsts = [labels.index(k) for k in sorted(set(labels))[:12]]
    grid = picture_grid(torch.cat([p[firsts] for p in pictures]), columns=len(firsts), row_labels=systems)
    save_image(grid, folder / "peers.png")


def at_hand(source: str) -> bool:
    "Whether CIFAR-10 is on this disk; other sets are found, or fetched."
    known = ("cifar10", "cifar-10-batches-py")
    return source != "cifar10" or any((root / name).exists() for root in data_roots() for name in known)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        run_stage(**json.loads(sys.argv[2]))
        return
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--minutes", type=float, default=10.0, help="of training a system; below 10 is the short form")
    ask.add_argument("--data", help="instead of fashion_mnist and cifar10: any data of square pictures")
    ask.add_argument("--pictures", type=int, default=2000, help="to draw with each system, if its time allows")
    ask.add_argument("--makers", type=int, help="to draw once more as a peer's makers do (40; short form: none)")
    ask.add_argument("--systems", default=",".join(SYSTEMS), help="separated by commas")
    options = ask.parse_args()
    full, systems = options.minutes >= 10, options.systems.split(",")
    if wrong := set(systems) - set(SYSTEMS):
        ask.error(f"unknown systems {', '.join(sorted(wrong))}; there are {', '.join(SYSTEMS)}")
    if any(importlib.util.find_spec(m) is None for m in ("denoising_diffusion_pytorch", "smalldiffusion", "diffusers")):
        ask.error("the peers cannot be imported: `make bench` installs them")
    asked = {"pictures": options.pictures, "makers": (40 if full else 0) if options.makers is None else options.makers}
    for data in [options.data] if options.data else ["fashion_mnist", "cifar10"] if full else ["fashion_mnist"]:
        if not at_hand(data):
            print(f"{data} is left out: it is not in {' or '.join(map(str, data_roots()))}")
            continue
        results = compare(data, options.minutes, systems, **asked)
        shown = f"\n{data}, {options.minutes:g} minutes a system\n\n{table(results)}\n"
        if best := best_peer(results):
            shown += f"- the best peer is {best}\n"
            if data == "cifar10":
                longer = compare(data, 3 * options.minutes, [best], **asked)
                shown += f"\n{data}, {3 * options.minutes:g} minutes\n\n{table(longer, results.get('classypics'))}\n"
        print(shown, flush=True)
        (run_folder(data, options.minutes) / "table.md").write_text(shown)
        side_by_side(run_folder(data, options.minutes), systems, load_data(data))


if __name__ == "__main__":
    main()
