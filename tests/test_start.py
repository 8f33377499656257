"A run that starts from another model's net, and how often a run looks at what it can do."

import shutil
import time
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from classypics import recipe
from classypics.core import InputError, to_pil
from classypics.data import load_data
from classypics.pipeline import Pipeline
from classypics.recipe import Recipe, plan, read_log, read_recipe, train

SMALL = dict(widths=[8, 16], num_inference_steps=2, batch_size=32)
STILL = dict(steps=1, lr=1e-12, num_inference_steps=2, batch_size=32)  # takes its step and stays where it was


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    "A run that has learned something of all ten digits."
    out = tmp_path_factory.mktemp("runs") / "first"
    train(Recipe("digits", out=str(out), steps=200, **SMALL), progress=False)
    return out


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    "A folder with digits of three classes, one of them under a name of its own."
    folder, digits = tmp_path_factory.mktemp("data") / "others", load_data("digits").train
    for name, k in {"9": 9, "3": 3, "heart": 0}.items():
        (folder / name).mkdir(parents=True)
        for i in (digits.labels[:, 0] == k).nonzero()[:40, 0].tolist():
            to_pil(digits.pictures([i])[0]).save(folder / name / f"{i}.png")
    return folder


def denoiser(run):
    return Pipeline.from_pretrained(run, device="cpu").denoiser


def test_it_has_the_net_and_what_is_known_of_its_classes(first, others, tmp_path):
    train(Recipe(f"folder:{others}", out=str(tmp_path), start_from=str(first), **STILL), progress=False)
    ours, theirs = denoiser(tmp_path), denoiser(first)
    for name, weight in theirs.net.state_dict().items():
        assert torch.allclose(ours.net.state_dict()[name], weight, atol=1e-6), name
    table, known = (d.conditioner.embedding.weight for d in (ours, theirs))
    assert ours.conditioner.classes == ["3", "9", "heart"]
    assert torch.allclose(table[[0, 1, 3]], known[[3, 9, 10]], atol=1e-6)  # the last row of each: not said
    assert not any(torch.allclose(table[2], row, atol=1e-2) for row in known)


def test_it_learns_faster_than_from_nothing(first, others, tmp_path):
    losses = {}
    for name, asked in {"new": SMALL, "on": {"start_from": str(first), "num_inference_steps": 2}}.items():
        train(Recipe(f"folder:{others}", out=str(tmp_path / name), steps=20, **asked), progress=False)
        losses[name] = read_log(tmp_path / name / "log.csv")[-1]["loss"]
    assert losses["on"] < 0.8 * losses["new"]


def test_it_says_so_and_takes_over_what_belongs_to_the_net(first, tmp_path, capsys):
    train(Recipe("digits", out=str(tmp_path), size=12, start_from=str(first), **STILL))
    assert f"a U-Net of widths 8, 16, which goes on from {first};" in capsys.readouterr().out
    stored = read_recipe(tmp_path / "recipe.yaml")
    assert (stored.widths, stored.codec, stored.size, stored.start_from) == ([8, 16], "pixels", "12x12", str(first))


def test_a_learned_codec_comes_along(tmp_path):
    latent = Recipe("digits", out=str(tmp_path / "kl"), codec="kl", steps=6, **SMALL)
    train(latent, progress=False)
    train(Recipe("digits", out=str(tmp_path / "on"), start_from=str(tmp_path / "kl"), **STILL), progress=False)
    ours, theirs = (Pipeline.from_pretrained(tmp_path / name, device="cpu") for name in ("on", "kl"))
    x = torch.rand(4, 1, 8, 8) * 2 - 1
    assert torch.equal(ours.codec.encode(x), theirs.codec.encode(x))
    assert ours.config["net"] == theirs.config["net"] and not (tmp_path / "on" / "codec_log.csv").exists()


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10"])
def test_a_shipped_model_can_be_started_from(name, tmp_path):
    for i in range(8):
        (tmp_path / "data" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (30 * i, 0, 0)).save(tmp_path / "data" / "ab"[i % 2] / f"{i}.png")
    config = Pipeline.from_pretrained(name).config
    channels = config["codec"]["args"]["channels"]
    asked = Recipe(f"folder:{tmp_path / 'data'}", channels=channels, start_from=name, steps=1)
    assert plan(asked, recipe.data_of(asked)).config["net"] == config["net"]


@pytest.mark.parametrize(
    "asked, why",
    [
        (dict(widths=[8]), r"has widths \[8, 16\] and not \[8\]: leave that out"),
        (dict(codec="vq", attention=1), "has codec pixels and not vq, attention 0 and not 1"),
        (dict(channels=3), "draws in grey, and these pictures are in colour: --channels 1"),
        (dict(start_from="fashion-mnits"), "did you mean 'fashion-mnist'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(first, tmp_path, asked, why):
    with pytest.raises(InputError, match=why):
        train(Recipe(**dict(data="digits", out=str(tmp_path / "run"), steps=1, start_from=str(first)) | asked))
    assert not (tmp_path / "run").exists()


def test_a_run_does_not_start_from_where_it_writes(first, tmp_path):
    run = shutil.copytree(first, tmp_path / "run")
    before = (run / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="cannot take its start from the folder it is written to"):
        train(Recipe("digits", out=str(run), steps=1, start_from=str(run)), overwrite=True)
    assert (run / "model.safetensors").read_bytes() == before


def test_once_begun_it_needs_the_first_model_no_more(first, tmp_path, monkeypatch):
    lent = shutil.copytree(first, tmp_path / "lent")
    asked = dict(data="digits", steps=6, start_from=str(lent), save_every=1e-9, num_inference_steps=2)
    train(Recipe(out=str(tmp_path / "whole"), **asked), progress=False)

    def out_of_paper(*args, **options):
        raise OSError

    with monkeypatch.context() as patched, pytest.raises(OSError):
        patched.setattr(recipe, "example_grid", out_of_paper)
        train(Recipe(out=str(tmp_path / "cut"), **asked), progress=False)
    shutil.rmtree(lent)
    train(Recipe(out=str(tmp_path / "cut"), **asked), resume=True, progress=False)
    ours, whole = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("cut", "whole"))
    assert ours == whole


@pytest.mark.parametrize("seconds, previews", [(0.0, 8), (100.0, 2)])
def test_previews_that_take_long_are_few(tmp_path, monkeypatch, seconds, previews):
    clock = iter(seconds * k for k in range(1000))  # asked before and after each preview
    monkeypatch.setattr(recipe, "time", SimpleNamespace(monotonic=lambda: next(clock), perf_counter=time.perf_counter))
    train(Recipe("digits", out=str(tmp_path), steps=50, **SMALL), progress=False)
    assert len(list((tmp_path / "samples").glob("*.png"))) == previews


def test_scores_say_what_the_first_model_may_have_seen(first, others, tmp_path):
    for k, (data, told) in enumerate({"digits": False, f"folder:{others}": True}.items()):
        train(Recipe(data, out=str(tmp_path / str(k)), start_from=str(first), **STILL), progress=False)
        notes = recipe.evaluate(tmp_path / str(k), num_images=20, progress=False).notes
        assert any(f"began with {first}, which learned from other pictures" in note for note in notes) == told
