"""Quality against evaluations of the network: `python bench/drawing.py MODEL [--num-images N] [--only PART ...]`.

One model, one set of seeds, drawn in many ways: samplers and steps, guidance and where it is given, noise levels.
Scored like `evaluate`. `nfe` are evaluations of the net a picture, a guided step counting two.
"""

import argparse

from classypics.metrics import score, train_judge
from classypics.pipeline import Pipeline, find_model
from classypics.recipe import data_of, draw_like, read_recipe
from classypics.schedule import LogNormal

USUAL = dict(sampler="dpmpp_2m", steps=12, scale=1.5, interval=(0.3, 5.0), levels={})
OTHER_SAMPLERS = (("heun", 6), ("heun", 9), ("euler", 12), ("euler", 30), ("ddpm", 24), ("ddpm", 30))
INTERVALS = ((0.0, 1e9), (0.0, 5.0), (0.3, 3.0), (0.3, 20.0), (1.0, 20.0))
LEVELS = ({"sigma_max": 40.0}, {"sigma_max": 20.0}, {"sigma_min": 0.02}, {"rho": 5.0}, {"rho": 3.0})
PARTS = {
    "steps": [dict(steps=n) for n in (6, 8, 18, 20, 30)],
    "samplers": [dict(sampler=name, steps=n) for name, n in OTHER_SAMPLERS],
    "guidance": [dict(scale=s) for s in (1.0, 1.25, 2.0, 3.0)],
    "interval": [dict(scale=s, interval=i) for s in (1.5, 2.0, 2.5, 3.0) for i in INTERVALS],
    "levels": [dict(levels=v) for v in LEVELS],
}


def evaluations(way: dict, sigmas) -> int:
    "Of the net, a picture."
    low, high = way["interval"]
    each = [1 + (way["scale"] != 1 and low <= sigma <= high) for sigma in sigmas[:-1].tolist()]
    return 2 * sum(each) - each[0] if way["sampler"] == "heun" else sum(each)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("model")
    ask.add_argument("--num-images", type=int, default=2000)
    ask.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    said = ask.parse_args()
    folder = find_model(said.model)
    pipe, data = Pipeline.from_pretrained(folder), data_of(read_recipe(folder / "recipe.yaml"))
    judge, usual = train_judge(data.train), pipe.schedule
    print("| way | nfe | FID | KID | agreement |\n" + "|---" * 5 + "|")
    for changed in [{}, *(way for part in said.only for way in PARTS[part])]:
        way = USUAL | changed
        pipe.config["defaults"]["guidance_interval"] = list(way["interval"])
        pipe.schedule = LogNormal(**way["levels"]) if way["levels"] else usual
        options = dict(sampler=way["sampler"], num_inference_steps=way["steps"], guidance_scale=way["scale"])
        drawn, labels = draw_like(pipe, data, said.num_images, **options)
        found = {f.name: f.drawn for f in score(drawn, labels, data, network=judge).figures}
        cells = [changed or way, evaluations(way, pipe.schedule.sigmas(way["steps"]))]
        print("|", " | ".join(map(str, [*cells, *(found[n] for n in ("FID", "KID", "agreement"))])), "|", flush=True)


if __name__ == "__main__":
    main()
