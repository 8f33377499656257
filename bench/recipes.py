"""Trials of the recipe at equal minutes: `python bench/recipes.py [--data D] [--minutes M] [--seed S] [TRIAL ...]`.

Each trial is what `plan` chooses with a few decisions pinned or patched; "before" is the recipe of 2026-11-21.
Runs lie in outputs/bench/recipes and are not repeated, so a stopped series goes on, but remove them when `plan` has
changed. The figures end up in bench/recipes.md.
"""

import argparse, contextlib, math
from unittest import mock

import torch
from systems import adamw, decay, each_alone

from classypics import recipe as recipes
from classypics import unet
from classypics.core import outputs_root
from classypics.metrics import train_judge
from classypics.recipe import Recipe, data_of, evaluate, train
from classypics.train import Muon

FOLDER = outputs_root() / "bench" / "recipes"
for _mean, _std in ((0.0, 1.2), (-0.8, 1.2), (-0.5, 1.0), (-0.2, 1.4)):  # of ln(sigma)
    part = {"type": "LogNormal", "args": {"mean": _mean, "std": _std}}
    recipes.SCHEDULES[f"log_normal{_mean:+g},{_std:g}"] = part


def _groups(groups: int):
    norm = lambda width, affine=True: torch.nn.GroupNorm(math.gcd(groups, width), width, affine=affine)
    return mock.patch.object(unet, "_norm", norm)


def _muon_for_convolutions():
    "Muon leaves linear layers to AdamW, as it first did."
    plain = Muon.__init__

    def init(self, model, **options):
        plain(self, model, **options)
        self.alike = {shape: same for shape, same in self.alike.items() if len(shape) == 4}

    return mock.patch.object(Muon, "__init__", init)


# name: (fields of the recipe, what else to change while it trains and draws)
TRIALS = {
    "plan": ({}, ()),
    "8 groups, AdamW": ({}, (lambda: _groups(8), adamw)),
    "AdamW": ({}, (adamw,)),
    "1 group, AdamW": ({}, (lambda: _groups(1), adamw)),
    "lr 0.002": ({"lr": 2e-3}, ()),
    "lr 0.006": ({"lr": 6e-3}, ()),
    "batch 32": ({"batch_size": 32}, ()),
    "batch 128": ({"batch_size": 128}, ()),
    "widths 24,48": ({"widths": [24, 48]}, ()),
    "widths 32,64": ({"widths": [32, 64]}, ()),
    "widths 48,96": ({"widths": [48, 96]}, ()),
    "widths 64,128": ({"widths": [64, 128]}, ()),
    "widths 16,32,48": ({"widths": [16, 32, 48]}, ()),
    "blocks 2": ({"blocks": 2}, ()),
    "attention 1": ({"attention": 1}, ()),
    "attention 2": ({"attention": 2}, ()),
    "average 0.05": ({"average": 0.05}, ()),
    "average 0.2": ({"average": 0.2}, ()),
    "dropout 0.2": ({"label_dropout": 0.2}, ()),
    "v": ({"prediction": "v"}, ()),
    "flow": ({"prediction": "flow", "schedule": "flow"}, ()),
    "mean 0": ({"schedule": "log_normal+0,1.2"}, ()),
    "mean -0.8": ({"schedule": "log_normal-0.8,1.2"}, ()),
    "mean -0.2, std 1.4": ({"schedule": "log_normal-0.2,1.4"}, ()),
    "std 1": ({"schedule": "log_normal-0.5,1"}, ()),
    "kl": ({"codec": "kl"}, ()),
    "kl, latent 8": ({"codec": "kl", "latent": 8}, ()),
    "kl, factor 2": ({"codec": "kl", "factor": 2}, ()),
    "vq": ({"codec": "vq"}, ()),
    "flip": ({"augment": "flip"}, ()),
    "float32": ({"bf16": False}, ()),
    "decay 0.25": ({}, (lambda: decay(0.25),)),
    "decay 0.75": ({}, (lambda: decay(0.75),)),
    "levels each alone": ({}, (each_alone,)),
    "decay 0.25, levels each alone": ({}, (lambda: decay(0.25), each_alone)),
    "Muon for convolutions alone": ({}, (_muon_for_convolutions,)),
    "before": ({"attention": 1}, (lambda: decay(0.25), each_alone, _muon_for_convolutions)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trials", nargs="*", metavar="TRIAL", help=", ".join(TRIALS))
    parser.add_argument("--data", default="fashion_mnist")
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-images", type=int, default=2000)
    parser.add_argument("--widths", help="the same for all trials, such as 32,64; what `plan` chooses")
    said = parser.parse_args()
    if not said.trials:
        parser.print_help()
    name = said.data.rsplit("/", 1)[-1].partition(".")[0].replace("folder:", "")
    train_judge(data_of(Recipe(said.data)).train)  # before anything is changed
    for trial in said.trials:
        fields, patches = TRIALS[trial]
        width = f", widths {said.widths}" if said.widths else ""
        out = FOLDER / f"{name}, {said.minutes:g} min{width}, {trial}, seed {said.seed}"
        fields = {"widths": said.widths, "minutes": said.minutes, "seed": said.seed} | fields
        asked = Recipe(said.data, out=str(out), **fields)
        with contextlib.ExitStack() as stack:
            for patch in patches:
                stack.enter_context(patch())
            train(asked, resume=True, progress=False)
            scores = evaluate(out, num_images=said.num_images, progress=False)
        steps = recipes.read_log(out / "log.csv")[-1]["step"]
        found = {f.name: f for f in scores.figures}
        row = [trial, steps, *(found[n].drawn for n in ("FID", "KID", "agreement")), found["FID"].real]
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
