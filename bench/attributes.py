"""Pictures by several attributes, one combination never shown: `python bench/attributes.py [MINUTES] [WAYS_MINUTES]`.

Out of MNIST: a digit, mirrored or not, thin or thick, in one of four tints; 20,000 pictures as PNGs and a table, with
every blue 7 left out. A model learns them for MINUTES (12), and a judge learns all combinations from 20,000 others.
Told: how often each attribute that was said is seen, how those left unsaid come out, and how often a 7 is blue when
a blue 7 is asked for. Then FiLM and cross-attention at equal minutes (WAYS_MINUTES, 2) in the same latents, 3 seeds.
Resumable; files lie in outputs/bench/attributes.
"""

import csv, sys

import torch
import torch.nn.functional as F

from classypics.core import generator, outputs_root, picture_grid, to_float, to_pil, to_uint8
from classypics.data import PictureSet, load_data
from classypics.metrics import agreement, look, train_judge
from classypics.recipe import Recipe, save_image, train

TINTS = {"red": (1.0, 0.25, 0.2), "green": (0.2, 0.9, 0.3), "blue": (0.25, 0.4, 1.0), "yellow": (1.0, 0.85, 0.1)}
COLUMNS = {"digit": tuple("0123456789"), "mirrored": ("no", "yes"), "stroke": ("thin", "thick"), "tint": tuple(TINTS)}
NEVER = (7, 2)  # digit and tint: a blue 7
GUIDANCE = 2.0  # a label of several parts wants more of it than a class: at 1.5 a digit was seen in 0.91, at 2 in 0.97
FOLDER = outputs_root() / "bench" / "attributes"


def made(pictures: PictureSet, *, seed: int) -> PictureSet:
    "Pictures with random attributes: bytes (N,3,28,28) and labels (N,4) in the order of `COLUMNS`."
    digit, draw = pictures.labels[:, 0], generator(seed, "attributes")
    mirrored, stroke, tint = (torch.randint(k, digit.shape, generator=draw) for k in (2, 2, 4))
    ink = (to_float(pictures.pictures()) + 1) / 2
    ink = torch.where(mirrored[:, None, None, None] == 1, ink.flip(3), ink)
    thin, thick = -F.max_pool2d(F.pad(-ink, (0, 1, 0, 1)), 2, 1), F.max_pool2d(ink, 3, 1, 1)
    ink = torch.where(stroke[:, None, None, None] == 1, thick, thin)
    colours = torch.tensor(list(TINTS.values()))[tint][:, :, None, None]
    return PictureSet(to_uint8(2 * ink * colours - 1), torch.stack([digit, mirrored, stroke, tint], 1), columns=COLUMNS)


def write_table(pictures: PictureSet, path) -> None:
    "The pictures as PNGs, and the table beside them."
    (path.parent / "pictures").mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as f:
        table = csv.writer(f)
        table.writerow(["file", *COLUMNS])
        for i, (picture, row) in enumerate(zip(pictures.pictures(), pictures.labels.tolist())):
            to_pil(picture).save(path.parent / "pictures" / f"{i}.png")
            table.writerow([f"pictures/{i}.png", *(values[k] for values, k in zip(COLUMNS.values(), row))])


def never(labels: torch.Tensor) -> torch.Tensor:
    return (labels[:, 0] == NEVER[0]) & (labels[:, 3] == NEVER[1])


def drawn(pipe, labels: torch.Tensor) -> torch.Tensor:
    "A picture a row of labels in the order of `COLUMNS`, whatever the model's own order."
    names = [{c: COLUMNS[c][k] for c, k in zip(COLUMNS, row) if k >= 0} for row in labels.tolist()]
    return pipe(pipe.denoiser.conditioner.parse(names), guidance_scale=GUIDANCE).pixels


def learned(table, name: str, minutes: float, **options):
    "The model of these options, trained or found."
    return train(Recipe(f"csv:{table}", out=str(FOLDER / name), minutes=minutes, **options), resume=True)


def tell(pipe, judge, test: PictureSet) -> None:
    "What is said and seen, what is left unsaid, and what was never shown."
    real = agreement(test.pictures(), test.labels, network=judge)
    said = test.labels[~never(test.labels)][:2000]
    found = agreement(drawn(pipe, said), said, network=judge)
    print("| what is said | seen when drawn, n = 2,000 | seen in real pictures, n = 10,000 |\n|---|---|---|")
    for column, share in found.per_column.items():
        print(f"| {column} | {share} | {real.per_column[column]} |")
    print(f"| all four at once | {found.overall} | {real.overall} |")

    print("\n| said alone, n = 400 | seen | how often the other values come out |\n|---|---|---|")
    for c, (column, values) in enumerate(COLUMNS.items()):
        labels = torch.full((400, 4), -1)
        labels[:, c] = torch.arange(400) % len(values)
        pictures = drawn(pipe, labels)
        seen = torch.stack([part.argmax(1) for part in judge.split(look(pictures, judge)[1]).values()], 1)
        mixed = []
        for other, (name, kinds) in enumerate(COLUMNS.items()):
            if other != c:
                share = torch.bincount(seen[:, other], minlength=len(kinds)) / len(seen)
                mixed.append(f"{name} {share.min():.0%} to {share.max():.0%} (evenly: {1 / len(kinds):.0%})")
        print(f"| {column} | {agreement(pictures, labels, network=judge).per_column[column]} | {'; '.join(mixed)} |")

    labels = test.labels[:400].clone()
    labels[:, 0], labels[:, 3] = NEVER
    both = agreement(drawn(pipe, labels), labels.index_fill(1, torch.tensor([1, 2]), -1), network=judge)
    each = ", ".join(f"{column} {share}" for column, share in both.per_column.items())
    print(f"\na blue 7, never shown: drawn right in {both.overall} of 400; by chance 0.025; alone: {each}")


def main(minutes: str = "12", ways_minutes: str = "2") -> None:
    mnist, table = load_data("mnist").train, FOLDER / "table.csv"
    some = torch.randperm(len(mnist), generator=generator(0, "some"))
    if not table.exists():
        shown = made(mnist.subset(some[:20_000]), seed=0)
        write_table(shown.subset(~never(shown.labels)), table)
    pipe = learned(table, "run", float(minutes), codec="kl")
    judge = train_judge(made(mnist.subset(some[20_000:40_000]), seed=1))
    test = made(load_data("mnist").test, seed=2)
    tell(pipe, judge, test)
    rows = [("7", "blue", "thin"), ("7", "blue", "thick"), ("7", "red", "thick"), ("3", "blue", "thin")]
    said = [dict(zip(("digit", "tint", "stroke"), row)) for row in rows]
    titles = [f"{stroke} {tint} {digit}" for digit, tint, stroke in rows]
    grid = picture_grid(pipe(said, num_images=10, guidance_scale=GUIDANCE).pixels, columns=10, row_labels=titles)
    save_image(grid, FOLDER / "attributes.png")

    ways = {"FiLM": {}, "cross-attention": {"film_conditioning": False, "cross_attention": 2}}
    said = test.labels[~never(test.labels)][:2000]
    print(f"\n| {ways_minutes} minutes each, 3 seeds | all four at once are seen, n = 2,000 |\n|---|---|")
    for way, options in ways.items():
        more = options | {"codec": str(FOLDER / "run")}
        runs = [learned(table, f"{way}-{seed}", float(ways_minutes), seed=seed, **more) for seed in range(3)]
        found = [agreement(drawn(run, said), said, network=judge).overall for run in runs]
        print(f"| {way} | " + "; ".join(map(str, found)) + " |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
