"""Quality against evaluations of the network: `python bench/drawing.py MODEL [NUM_IMAGES]`.

One model, one set of seeds, drawn by several samplers, steps, guidance scales and intervals; scored like `evaluate`.
"""

import sys

from classypics.metrics import score, train_judge
from classypics.pipeline import Pipeline, find_model
from classypics.recipe import data_of, draw_like, read_recipe

EVERYWHERE = (0.0, 1e9)
WAYS = [("dpmpp_2m", steps, 1.5, EVERYWHERE) for steps in (6, 8, 12, 18, 30)]
WAYS += [("dpmpp_2m", 12, scale, EVERYWHERE) for scale in (1.0, 1.25, 2.0, 3.0)]
WAYS += [("dpmpp_2m", 12, 1.5, (0.2, 5.0)), ("dpmpp_2m", 12, 2.0, (0.2, 5.0)), ("dpmpp_2m", 12, 1.5, (0.0, 10.0))]
WAYS += [("heun", 6, 1.5, EVERYWHERE), ("heun", 9, 1.5, EVERYWHERE), ("euler", 12, 1.5, EVERYWHERE)]
WAYS += [("euler", 30, 1.5, EVERYWHERE), ("ddpm", 30, 1.5, EVERYWHERE)]


def main(model: str, num_images: str = "2000") -> None:
    folder = find_model(model)
    pipe, data = Pipeline.from_pretrained(folder), data_of(read_recipe(folder / "recipe.yaml"))
    judge = train_judge(data.train)
    print("| sampler | steps | guidance | where sigma is within | FID | KID | agreement |\n" + "|---" * 7 + "|")
    for sampler, steps, scale, interval in WAYS:
        pipe.config["defaults"]["guidance_interval"] = list(interval)
        options = dict(sampler=sampler, num_inference_steps=steps, guidance_scale=scale)
        drawn, labels = draw_like(pipe, data, int(num_images), **options)
        found = {f.name: f for f in score(drawn, labels, data, network=judge).figures}
        where = "everywhere" if interval == EVERYWHERE else "{:g} to {:g}".format(*interval)
        scores = (found[name].drawn for name in ("FID", "KID", "agreement"))
        print("|", " | ".join(map(str, (sampler, steps, scale, where, *scores))), "|", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
