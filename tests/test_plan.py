"`plan` holds from 8x8 grey to 128x128 colour, 2 classes to 102, a minute to ten hours, two slow cores to a GPU."

import dataclasses

import pytest
import torch

from classypics import recipe as recipes
from classypics.core import InputError, resolve_device
from classypics.data import Data, PictureSet
from classypics.pipeline import Pipeline
from classypics.recipe import ENOUGH, Machine, Recipe, memory, operations, plan, probe, read_recipe, train

LAPTOP = Machine("cpu", bf16=False, rate=100.0, memory=6.0)
GPU = Machine("cuda", bf16=True, rate=300_000.0, memory=80.0)


def pictures(n: int, shape: tuple[int, int, int], classes: int) -> Data:
    labels = torch.arange(n) % classes
    seen = torch.zeros(1, dtype=torch.uint8).expand(n, *shape)  # their number and shape are what a plan looks at
    parts = [PictureSet(seen[:k], labels[:k], columns=[f"class {c}" for c in range(classes)]) for k in (n, classes)]
    return Data("made", *parts, original_sizes=(shape[1:], shape[1:]), skipped={})


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 48, 64), (3, 128, 128)])
def test_it_fits_minutes_and_memory(shape):
    cases = [(204, 102, 1, LAPTOP), (60_000, 2, 600, LAPTOP)] + [(204, 2, 10, GPU)] * (shape[1] < 20)
    for n, classes, minutes, machine in cases:
        data = pictures(n, shape, classes)
        planned = plan(Recipe("made", minutes=minutes, device="cpu"), data, machine=machine)
        recipe, case = planned.recipe, (n, classes, minutes, machine)
        assert not [k for k, v in dataclasses.asdict(recipe).items() if v is None
                    and k not in ("steps", "image_column", "label_columns", "start_from")], case
        assert float(planned.reasons["accumulate"].split("about ")[1].split()[0]) < machine.memory, case
        assert {"codec", "widths", "accumulate"} <= planned.reasons.keys(), case
        pipe = Pipeline(planned.config, device="cpu")  # it can be built, and looks at such pictures
        z = pipe.codec.encode(torch.zeros(1, *shape))
        assert pipe.denoiser(z, torch.ones(1), torch.zeros(1, 1, dtype=torch.int64)).shape == z.shape, case


def test_more_time_or_a_faster_machine_gives_a_wider_net():
    data = pictures(1000, (1, 28, 28), 10)
    widths = lambda minutes, rate: plan(Recipe("made", minutes=minutes, device="cpu"), data,
                                        machine=dataclasses.replace(LAPTOP, rate=rate)).recipe.widths
    assert widths(1, 100) < widths(20, 100) < widths(600, 100) and widths(20, 100) < widths(20, 3000)
    assert widths(200, 100) > widths(20, 100)


def test_colour_is_guided_more_and_what_is_asked_stays():
    scale = lambda channels, **asked: plan(Recipe("made", device="cpu", **asked), pictures(100, (channels, 8, 8), 2),
                                           machine=LAPTOP).recipe.guidance_scale
    assert scale(1) == 1.5 < scale(3) == 3 and scale(3, guidance_scale=2.0) == 2 and scale(3, label_dropout=0.0) == 1
    assert scale(3, steps=1000) == 3 > scale(3, steps=50_000) == 2 == scale(3, minutes=6000)  # by what it sees
    assert scale(1, steps=50_000) == 1.5 and scale(3, steps=50_000, guidance_scale=1.0) == 1


def test_without_label_dropout_nothing_can_be_left_unsaid():
    planned = plan(Recipe("made", steps=1, label_dropout=0, device="cpu"), pictures(100, (1, 8, 8), 2), machine=LAPTOP)
    pipe = Pipeline(planned.config, device="cpu")
    assert pipe("class 1", num_inference_steps=2).classes == ["class 1"]
    for asked, options in ((None, {}), ("class 1", {"guidance_scale": 2.0})):
        with pytest.raises(InputError, match="trained without label_dropout"):
            pipe.stream(asked, **options)
    both = PictureSet(torch.zeros(8, 1, 8, 8, dtype=torch.uint8), torch.arange(8)[:, None] // torch.tensor([1, 2]) % 2,
                      columns={"color": ["red", "blue"], "shape": ["disc", "ring"]})  # fmt: skip
    made = Data("made", both, both, original_sizes=((8, 8), (8, 8)), skipped={})
    with pytest.raises(InputError, match="label_dropout must be above 0"):
        plan(Recipe("made", steps=1, label_dropout=0, device="cpu"), made, machine=LAPTOP)


def test_latents_that_are_kept_are_counted():
    data, asked = pictures(50_000, (1, 32, 32), 10), dict(steps=10, codec="kl", device="cpu")
    kept, computed = (plan(Recipe("made", **asked, augment=a), data, machine=GPU) for a in ([], ["shift=1"]))
    more = memory(kept.recipe, data, kept.config) - memory(computed.recipe, data, computed.config)
    assert more == pytest.approx(2 * 4 * 50_000 * 4 * 8 * 8 / 1e9)  # four bytes a number, and once more to write them


def test_a_container_has_what_is_left_of_its_share(tmp_path, monkeypatch):
    files = {"memory.max": "4000000", "memory.current": "3000000", "memory.stat": "anon 9\ninactive_file 500000\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    host = recipes._free_memory()
    monkeypatch.setattr(recipes, "Path", lambda path: tmp_path)
    assert recipes._free_memory() == 1_500_000 < host
    (tmp_path / "memory.max").write_text("max")
    assert recipes._free_memory() > 1_500_000


def test_the_widest_net_that_sees_enough():
    data, machine = pictures(1000, (1, 28, 28), 10), dataclasses.replace(LAPTOP, rate=400.0)
    planned = plan(Recipe("made", minutes=10, device="cpu"), data, machine=machine)
    sees = int(planned.reasons["widths"].split("about ")[1].split()[0].replace(",", ""))
    net = planned.config["net"]["args"]
    wider = operations(net | {"widths": [2 * w for w in net["widths"]]}, (4, 14, 14))
    enough = ENOUGH * net["widths"][0]
    assert sees >= enough and 2 * enough > sees * operations(net, (4, 14, 14)) / wider


def test_what_is_asked_stays_and_steps_are_the_same_everywhere():
    data = pictures(1000, (1, 28, 28), 10)
    asked = Recipe("made", steps=10, widths=[8, 24], lr=1e-3, bf16=True, codec="kl", batch_size=10, device="cpu")
    planned = plan(asked, data, machine=LAPTOP)
    for name, value in dataclasses.asdict(asked).items():
        assert value is None or getattr(planned.recipe, name) == value
    assert not planned.reasons.keys() & {"widths", "bf16", "codec"}
    one, other = (plan(Recipe("made", steps=10, device="cpu"), data, machine=m).recipe.widths for m in (LAPTOP, GPU))
    assert one == other


def test_short_of_memory_a_batch_is_cut_and_then_refused():
    data = pictures(1000, (3, 64, 64), 10)
    heavy = Recipe("made", widths=[64, 128, 192], batch_size=256, codec="pixels", steps=5, device="cpu")
    cut = plan(heavy, data, machine=dataclasses.replace(LAPTOP, memory=3.0))
    assert 1 < cut.recipe.accumulate <= 256 and "GB" in cut.reasons["accumulate"]
    with pytest.raises(InputError, match="GB of memory and 0.5 GB are free.*--size"):
        plan(heavy, data, machine=dataclasses.replace(LAPTOP, memory=0.5))
    with pytest.raises(InputError, match="GB of memory"):
        plan(dataclasses.replace(heavy, accumulate=1), data, machine=dataclasses.replace(LAPTOP, memory=3.0))


def test_attention_to_many_positions_takes_memory():
    data = pictures(100, (3, 64, 64), 2)
    heavy = Recipe("made", widths=[32, 64, 96], codec="pixels", steps=5, device="cpu")

    def needs(attention):
        whole = plan(dataclasses.replace(heavy, attention=attention), data, machine=GPU)
        return memory(dataclasses.replace(whole.recipe, accumulate=1), data, whole.config)

    assert needs(3) - needs(1) > 64 * 4096**2 * 4 / 1e9  # one map of the largest level alone


def test_the_codebook_is_counted():
    data, asked = pictures(100, (3, 64, 64), 2), Recipe("made", codec="vq", steps=5, device="cpu")
    small, large = (plan(dataclasses.replace(asked, codes=n), data, machine=GPU) for n in (512, 8192))
    more = memory(large.recipe, data, large.config) - memory(small.recipe, data, small.config)
    assert more > 8 * 7680 * 256 * 256 / 1e9 / 2  # two float32 tables of all positions that are looked up at once


def test_widths_of_a_codec_that_nobody_would_read_are_refused():
    data, asked = pictures(100, (1, 32, 32), 2), Recipe("made", codec="kl", steps=5, device="cpu")
    with pytest.raises(InputError, match="factor 4 halves pictures 2 times.*at most 2, not 3"):
        plan(dataclasses.replace(asked, codec_widths=[32, 64, 128]), data, machine=LAPTOP)
    for fits in (dict(codec_widths=[16]), dict(codec_widths=[32, 64], factor=2), dict(factor=2)):
        plan(dataclasses.replace(asked, **fits), data, machine=LAPTOP)


def test_previews_are_no_larger_than_what_was_planned(tmp_path, monkeypatch):
    from classypics import pipeline

    seen = []

    class Guided(pipeline.Guided):
        def forward(self, x, sigma, labels):
            seen.append(len(x))
            return super().forward(x, sigma, labels)

    monkeypatch.setattr(pipeline, "Guided", Guided)
    cut = dict(batch_size=16, accumulate=8, widths=[8], num_inference_steps=2)
    train(Recipe("digits", steps=2, out=str(tmp_path / "run"), **cut), progress=False)
    assert max(seen) == 2


def test_a_gpu_that_gives_no_memory_is_passed_over(monkeypatch):
    if torch.backends.mps.is_available():
        pytest.skip("this one gives some")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)  # as in a virtual Mac
    assert resolve_device("auto").type == "cpu"
    with pytest.raises(InputError, match="'mps' cannot be used here"):
        resolve_device("mps")


def test_this_machine_is_measured_and_the_reasons_are_stored(tmp_path):
    here = probe("cpu")
    assert here.rate > 0.1 and 0.1 < here.memory < 100_000 and here.device == "cpu"
    recipe = Recipe("digits", out=str(tmp_path / "run"), steps=2, batch_size=8, widths=[8], num_inference_steps=2)
    train(recipe, progress=False)
    lines = (tmp_path / "run" / "recipe.yaml").read_text(encoding="utf-8").splitlines()
    assert "codec: pixels  # 8x8 pixels are few enough to paint one by one" in lines
    assert any(line.startswith("accumulate: 1  # ") and "GB" in line for line in lines)
    assert read_recipe(tmp_path / "run" / "recipe.yaml").widths == [8]


@pytest.mark.parametrize(
    "asked, why",
    [
        ({"schedule": "cosine", "num_inference_steps": 1001}, "at most 1000 with the schedule cosine, not 1001"),
        ({"codec": "pixels", "adversarial": 0.5}, r"pixels has no use for adversarial \(0.5\): .*--codec kl or vq"),
        ({"latent": 8}, "codec pixels has no use for latent"),
        ({"codec": "kl", "codes": 64}, "codec kl has no use for codes .* --codec vq"),
        ({"factor": 16}, "8x8 cannot be made 16 times smaller: take a smaller factor"),
    ],
)
def test_what_would_do_nothing_or_fail_later_is_refused_at_once(asked, why):
    data = pictures(100, (1, 8, 8), 2)
    with pytest.raises(InputError, match=why):
        plan(Recipe("made", device="cpu", **asked), data, machine=LAPTOP)
    small = pictures(100, (1, 4, 4), 2)
    with pytest.raises(InputError, match="perceptual compares pictures of 8x8 or more, and these have 4x4"):
        plan(Recipe("made", device="cpu", codec="kl", widths=[8], perceptual=0.1), small, machine=LAPTOP)
    complete = plan(Recipe("made", device="cpu"), data, machine=LAPTOP).recipe  # says all, and asks for nothing idle
    assert plan(complete, data, machine=LAPTOP).recipe == complete
