"""Pixels, space-to-depth and both learned codecs at equal minutes: `python bench/codecs.py [DATA] [MINUTES]`.

Resumable. Each model is trained for MINUTES (15) on DATA (mnist), the learned ones with a third of them for the codec,
then 2,000 pictures are scored. Runs lie in outputs/bench/codecs. Last comes a DDPM of the linear schedule in the
latents of kl, drawn in 1,000 steps and in 15.
"""

import sys

from classypics.core import outputs_root
from classypics.recipe import Recipe, evaluate, train

NAMES = ("agreement", "FID", "codec alone: FID", "codec alone: agreement")
DRAWN = {"DPM++ 2M, 15 steps": dict(num_inference_steps=15, sampler="dpmpp_2m"),
         "DDPM, 1,000 steps": dict(num_inference_steps=1000, sampler="ddpm")}  # fmt: skip


def row(title: str, scores) -> str:
    found = {f.name: f for f in scores.figures}
    cells = [f"{found[n].drawn} (real {found[n].real})" if n in found else "" for n in NAMES]
    return f"| {title} | " + " | ".join(cells) + " |"


def main(data: str = "mnist", minutes: str = "15") -> None:
    folder, rows = outputs_root() / "bench" / "codecs", []
    for codec in ("kl", "vq", "space_to_depth", "pixels"):
        recipe = Recipe(data, out=str(folder / f"{data}-{codec}"), codec=codec, minutes=float(minutes))
        train(recipe, resume=True)
        rows.append(row(codec, evaluate(recipe.out, num_images=2000)))
        print(rows[-1], flush=True)
    own = str(folder / f"{data}-kl")
    linear = Recipe(data, out=str(folder / f"{data}-linear"), codec=own, schedule="linear", prediction="eps",
                    minutes=float(minutes) * 2 / 3)  # fmt: skip
    train(linear, resume=True)
    for title, how in DRAWN.items():
        scores = evaluate(linear.out, num_images=1000, guidance_scale=1.0, **how)
        rows.append(row(f"kl, linear schedule, {title}, n = 1,000", scores))
    scores = evaluate(own, num_images=1000, guidance_scale=1.0, num_inference_steps=15)
    rows.append(row("kl, log-normal schedule, DPM++ 2M, 15 steps, n = 1,000", scores))
    print("\n| codec | agreement | FID | FID of the codec alone | agreement of the codec alone |")
    print("|" + "---|" * 5, *rows, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
