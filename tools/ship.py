"""Put a finished run into the package as a model that comes with it: half precision, its recipe, a picture.

    .venv/bin/python tools/ship.py outputs/fashion-mnist

Its card, README.md beside them, is written by hand: data, command, minutes, machine, scores.
"""

import shutil, sys
from pathlib import Path

import torch

from classypics.pipeline import Pipeline
from classypics.recipe import example_grid, save_film, save_image

run = Path(sys.argv[1])
goal = Path(__file__).resolve().parents[1] / "classypics" / "pretrained" / run.name
Pipeline.from_pretrained(run, device="cpu").save_pretrained(goal, dtype=torch.float16)
shutil.copy(run / "recipe.yaml", goal / "recipe.yaml")
shipped = Pipeline.from_pretrained(goal, device="cpu")
save_image(example_grid(shipped, num_images=10), goal / "samples.png")
save_film(shipped, goal / "film.gif")
for path in sorted(goal.iterdir()):
    print(f"{path.stat().st_size / 1e6:6.2f} MB  {path}")
