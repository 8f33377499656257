"Codecs that are learned, lent or collapsed; labels of several columns; every recipe builds, and fits its memory."

import csv
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from refresh import ROOT

from classypics import recipe
from classypics.cli import run
from classypics.codec import CodecTask, Pixels, VQAutoencoder
from classypics.core import InputError, generator, picture_grid, to_pil
from classypics.data import Data, PictureSet, load_data
from classypics.denoiser import DenoisingTask
from classypics.metrics import LPIPS_WEIGHTS, lpips
from classypics.pipeline import Frame, Pipeline, build
from classypics.recipe import Machine, Recipe, _usage, draw_like, evaluate, plan, read_log, read_recipe, train

SMALL = dict(steps=24, widths=[8, 16], num_inference_steps=2)


@pytest.fixture(scope="module")
def latent(tmp_path_factory):
    "A run whose codec is its own."
    out = tmp_path_factory.mktemp("runs") / "kl"
    train(Recipe("digits", out=str(out), codec="kl", perceptual=0.1, **SMALL), progress=False)
    return out


def test_a_learned_codec_lies_in_the_one_file(latent):
    pipe = Pipeline.from_pretrained(latent, device="cpu")
    assert type(pipe.codec).__name__ == "KLAutoencoder" and pipe("3", num_images=2).pixels.shape == (2, 1, 8, 8)
    some = load_data("digits").test.pictures().float() / 127.5 - 1
    with torch.no_grad():
        z = pipe.codec.encode(some)
    assert 0.7 < z.std() < 1.3 and (latent / "samples" / "codec.png").exists()
    assert "What the codec keeps" in (latent / "report.html").read_text(encoding="utf-8")


def test_half_precision_keeps_what_was_measured(latent, tmp_path):
    pipe = Pipeline.from_pretrained(latent, device="cpu")
    pipe.save_pretrained(tmp_path, dtype=torch.float16)
    half = Pipeline.from_pretrained(tmp_path, device="cpu")
    assert torch.equal(half.codec.scale.mean, pipe.codec.scale.mean)
    assert (tmp_path / "model.safetensors").stat().st_size < 0.6 * (latent / "model.safetensors").stat().st_size


def test_a_codec_can_be_taken_from_another_run(latent, tmp_path):
    train(Recipe("digits", out=str(tmp_path / "run"), codec=str(latent), **SMALL), progress=False)
    ours, theirs = (Pipeline.from_pretrained(p, device="cpu").codec for p in (tmp_path / "run", latent))
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters()))
    assert not (tmp_path / "run" / "codec_log.csv").exists()


def test_scores_tell_what_the_codec_alone_costs(latent):
    scores = {f.name: f for f in evaluate(latent, num_images=100, progress=False).figures}
    assert scores["codec alone: KID"].drawn.n == 100 and 0 <= scores["codec alone: agreement"].drawn.value <= 1


def test_latents_are_kept_only_where_nothing_augments(latent, tmp_path):
    assert (latent / "resume" / "latents.safetensors").exists()
    train(Recipe("digits", out=str(tmp_path / "run"), codec=str(latent), augment=["shift=1"], **SMALL), progress=False)
    assert not (tmp_path / "run" / "resume" / "latents.safetensors").exists()


@pytest.mark.parametrize("data, channels", [("digits", 1), ("colour", 3)])
def test_a_codec_of_diffusers(data, channels, tmp_path):
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    ends = [f"{way}{kind}Block2D" for way, kind in (("Down", "Encoder"), ("Up", "Decoder"))]
    parts = dict(down_block_types=ends[:1] * 2, up_block_types=ends[1:] * 2, block_out_channels=(8, 16))
    vae = diffusers.AutoencoderKL(latent_channels=3, norm_num_groups=4, sample_size=8, **parts)
    vae.save_pretrained(tmp_path / "vae")
    if data == "colour":
        data = made_table(tmp_path, size=8)[0]
    options = dict(SMALL, label_columns=["color"]) if channels == 3 else SMALL
    recipe = Recipe(data, out=str(tmp_path / "run"), codec=f"diffusers:{tmp_path / 'vae'}", **options)
    train(recipe, progress=False)
    shutil.rmtree(tmp_path / "vae")  # the model is whole without it
    pipe = Pipeline.from_pretrained(tmp_path / "run", device="cpu")
    assert pipe(pipe.classes[0]).pixels.shape == (1, channels, 8, 8) and pipe.codec.shape == (3, 4, 4)
    assert pipe.codec.at_once == Pixels(channels, (8, 8)).at_once // 8  # it takes far more memory


def test_pictures_are_encoded_a_few_at_a_time(latent, monkeypatch):
    pipe, seen = Pipeline.from_pretrained(latent, device="cpu"), []
    monkeypatch.setattr(type(pipe.codec), "at_once", 3)
    task, encode = DenoisingTask(pipe.denoiser, pipe.codec, pipe.schedule), pipe.codec.encode
    pipe.codec.encode = lambda x: seen.append(len(x)) or encode(x)
    batch = torch.zeros(8, 1, 8, 8, dtype=torch.uint8), torch.zeros(8, 1, dtype=torch.long)
    assert task(**task.draw(batch, generator(0))).isfinite() and seen == [3, 3, 2]


def test_a_missing_diffusers_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(InputError, match=r"pip install 'classypics\[text\]'"):
        train(Recipe("digits", out=str(tmp_path / "run"), codec="diffusers:vae", **SMALL), progress=False)
    assert not (tmp_path / "run").exists()


def test_a_collapsed_codebook_is_said_with_what_to_do():
    torch.manual_seed(0)
    codec = VQAutoencoder(1, (8, 8), factor=2, codes=64).eval()
    x = torch.rand(200, 1, 8, 8, generator=generator(0)) * 2 - 1
    with torch.no_grad():
        latents = codec.fold(x).movedim(1, -1).flatten(0, 2)
    codec.codebook.copy_(latents[torch.randperm(len(latents), generator=generator(1))[:64]])
    assert _usage(codec, x).startswith("codebook: 6")
    codec.codebook[3:] = 1000.0  # out of everybody's reach
    assert "collapsed: 3 of 64 codes" in _usage(codec, x) and "--codes 8" in _usage(codec, x)


def test_the_codebook_does_not_hear_of_what_is_no_number():
    torch.manual_seed(0)
    codec = VQAutoencoder(1, (8, 8), factor=2, codes=8).train()
    codec.reconstruct(torch.zeros(4, 1, 8, 8), None)
    before = codec.codebook.clone()
    codec.reconstruct(torch.full((4, 1, 8, 8), torch.nan), None)
    assert torch.equal(codec.codebook, before)


def test_a_run_does_not_take_its_codec_from_where_it_writes(latent, tmp_path):
    shutil.copytree(latent, tmp_path / "run")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="cannot take its codec from the folder it is written to"):
        train(Recipe("digits", out=str(tmp_path / "run"), codec=str(tmp_path / "run"), **SMALL), overwrite=True)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_a_run_may_be_called_as_its_codec(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(Recipe("digits", out="kl", codec="kl", **SMALL), progress=False)
    assert Path("kl/model.safetensors").exists()


def test_both_stages_together_have_the_steps_asked_for(tmp_path):
    out = tmp_path / "run"
    train(Recipe("digits", out=str(out), codec="kl", codec_share=0.5, **SMALL | {"steps": 5}), progress=False)
    assert [read_log(out / name)[-1]["step"] for name in ("codec_log.csv", "log.csv")] == [2, 3]


def test_an_adversary_begins_halfway_where_minutes_are_few(tmp_path, monkeypatch):
    made, seconds = [], {"minutes": 0.1, "steps": None}
    monkeypatch.setattr(recipe, "CodecTask", lambda *args, **said: made.append(CodecTask(*args, **said)) or made[-1])
    train(Recipe("digits", out=str(tmp_path / "run"), codec="kl", adversarial=0.1, **SMALL | seconds), progress=False)
    assert 0 < made[0].adversary_from < read_log(tmp_path / "run" / "codec_log.csv")[-1]["step"] < 500


def test_a_borrowed_codec_is_not_needed_twice(latent, tmp_path):
    shutil.copytree(latent, tmp_path / "lender")
    recipe = Recipe("digits", out=str(tmp_path / "run"), codec=str(tmp_path / "lender"), **SMALL)
    train(recipe, progress=False)
    whole = (tmp_path / "run" / "model.safetensors").read_bytes()
    (tmp_path / "run" / "resume" / "state.safetensors").unlink()  # as if killed before the first save
    shutil.rmtree(tmp_path / "lender")
    train(Recipe(out=str(tmp_path / "run")), resume=True, progress=False)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == whole


def test_a_kill_between_the_stages_loses_nothing(tmp_path, monkeypatch):
    recipe = Recipe("digits", out=str(tmp_path / "run"), codec="kl", **SMALL)
    with monkeypatch.context() as m:
        m.setattr("classypics.codec.Codec.standardise", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(recipe, progress=False)
    train(recipe, resume=True, progress=False)
    train(dataclasses.replace(recipe, out=str(tmp_path / "other")), progress=False)
    one, other = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("run", "other"))
    assert one == other


def test_few_held_out_pictures_are_no_end_of_scoring(tmp_path):
    data, _ = made_table(tmp_path, each=3)
    recipe = Recipe(data, out=str(tmp_path / "run"), codec="kl", label_columns=["color"], **SMALL)
    train(recipe, progress=False)
    assert "agreement" in {f.name for f in evaluate(tmp_path / "run", num_images=40, progress=False).figures}
    n = len(load_data(data, label_columns=["color"]).test)
    rows = picture_grid(torch.zeros(2 * n, 1, 8, 8), columns=n, row_labels=["real", "through codec"])
    assert n < 8 and Image.open(tmp_path / "run" / "samples" / "codec.png").size == rows.size  # two rows, as labelled


def test_lpips_reads_its_weights_from_disk_alone(tmp_path, monkeypatch):
    from torchvision.models import squeezenet1_1

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    assert lpips() is None
    (tmp_path / "checkpoints").mkdir()
    torch.manual_seed(0)
    torch.save(squeezenet1_1(weights=None).state_dict(), tmp_path / "checkpoints" / LPIPS_WEIGHTS)
    x_hat = torch.rand(2, 1, 64, 64, generator=generator(0)).requires_grad_()
    distance = lpips()(x_hat, torch.zeros(2, 1, 64, 64))
    distance.backward()
    assert distance > 0 and x_hat.grad.norm() > 0


# --- labels of several columns ---

COLORS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "grey": (1, 1, 1)}
CORNERS = {"north west": (0, 0), "north east": (0, 1), "south west": (1, 0), "south east": (1, 1)}


def made_table(folder, *, size=8, never=("blue", "north west"), each=20) -> tuple:
    "Pictures with one corner lit in one colour, and their table; one combination never occurs."
    draw, rows, half = generator(0, "made"), [], size // 2
    for color, rgb in COLORS.items():
        for corner, (down, right) in CORNERS.items():
            for i in range(each * ((color, corner) != never)):
                x = torch.full((3, size, size), -1.0)
                light = 2 * torch.tensor(rgb)[:, None, None] * (0.6 + 0.4 * torch.rand(1, generator=draw)) - 1
                x[:, down * half : (down + 1) * half, right * half : (right + 1) * half] = light
                to_pil(x).save(folder / f"{color}-{corner}-{i}.png")
                rows.append((f"{color}-{corner}-{i}.png", color, corner))
    with open(folder / "labels.csv", "w", newline="") as f:
        csv.writer(f).writerows([("file", "color", "corner"), *rows])
    return f"csv:{folder / 'labels.csv'}", rows


def seen(pictures) -> list:
    "Colour and corner of made pictures, by looking at them."
    corners = torch.nn.functional.adaptive_avg_pool2d(pictures.float(), 2)  # (n,3,2,2)
    best = corners.sum(1).flatten(1).argmax(1)
    light = corners.flatten(2)[torch.arange(len(best)), :, best] / 255
    colors = torch.cdist(light / light.amax(1, keepdim=True), torch.tensor(list(COLORS.values())).float()).argmin(1)
    return [(list(COLORS)[c], list(CORNERS)[b]) for c, b in zip(colors, best)]


@pytest.fixture(scope="module")
def attributes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    data, _ = made_table(folder)
    recipe = Recipe(data, out=str(folder / "run"), steps=900, widths=[16, 32])
    return train(recipe, progress=False), folder / "run"


def test_what_is_said_is_drawn_and_what_is_not_is_mixed(attributes):
    pipe, _ = attributes
    assert pipe.columns == {"color": ("blue", "green", "grey", "red"), "corner": tuple(sorted(CORNERS))}
    for said, wanted in (({"color": "red", "corner": "south west"}, ("red", "south west")),
                         ("color=green,corner=north east", ("green", "north east"))):  # fmt: skip
        drawn = pipe(said, num_images=40)
        assert seen(drawn.pixels).count(wanted) >= 38 and drawn.classes[0] == f"color={wanted[0]},corner={wanted[1]}"
    reds = seen(pipe({"color": "red"}, num_images=80).pixels)
    corners = [corner for color, corner in reds if color == "red"]
    assert len(corners) >= 76 and all(8 <= corners.count(corner) for corner in CORNERS)
    assert len(set(seen(pipe(None, num_images=80).pixels))) >= 10


def test_a_combination_never_shown_is_drawn_more_often_than_by_chance(attributes):
    pictures = attributes[0]({"color": "blue", "corner": "north west"}, num_images=60).pixels
    assert seen(pictures).count(("blue", "north west")) > 15  # by chance 4


def test_attributes_in_a_terminal(attributes, tmp_path, capsys):
    run(["sample", str(attributes[1]), "--class", "color=red,corner=south east", "--out", str(tmp_path / "a.png"),
         "--film", str(tmp_path / "film"), "--num-inference-steps", "5"])  # fmt: skip
    frames = sorted(p.name for p in (tmp_path / "film").iterdir())
    assert frames == [f"{k:04d}.png" for k in range(1, 6)] and Image.open(tmp_path / "a.png").width > 100
    for said, reason in {"colour=red": "did you mean 'color'", "color=rde": "did you mean 'red'",
                         "red": "says no attribute", "color=red,color=blue": "said twice"}.items():  # fmt: skip
        with pytest.raises(InputError, match=reason):
            run(["sample", str(attributes[1]), "--class", said, "--out", str(tmp_path / "b.png")])
    assert not (tmp_path / "b.png").exists()
    with pytest.raises(InputError, match="is not empty"):
        run(["sample", str(attributes[1]), "--film", str(tmp_path / "film"), "--out", str(tmp_path / "b.png")])


def test_attributes_are_scored_by_column(attributes):
    scores = {f.name: f for f in evaluate(attributes[1], num_images=200, progress=False).figures}
    assert {"agreement", "agreement: color", "agreement: corner", "agreement: color=red"} < scores.keys()
    assert "Inception Score" not in scores and scores["agreement: color"].drawn.value > 0.8


def test_drawn_labels_are_in_the_proportions_of_many_rare_rows():
    rows = (torch.rand(5000, 12, generator=generator(0, "rows")) < 0.2).long()
    columns = {f"c{k}": "ny" for k in range(12)}
    pictures = PictureSet(torch.zeros(5000, 1, 8, 8, dtype=torch.uint8), rows, columns=columns)

    class Blank:
        "Draws nothing, for every row."

        def stream(self, labels, seed):
            yield Frame(1, 1, 0.0, torch.zeros(len(labels), 1, 8, 8), Pixels(1, (8, 8)), [], [])

    _, labels = draw_like(Blank(), Data("made", pictures, pictures, ((8, 8),) * 2, {}), 1000)
    assert len(labels) == 1000 and (labels.float().mean() - rows.float().mean()).abs() < 0.009


@pytest.mark.parametrize(
    "labels, why",
    [
        ([[0, 0], [4, 0]], "and row 1 has 4, 0"),
        ([[0, 4]], "and row 0 has 0, 4"),
        ([[-2, 0]], "and row 0 has -2, 0"),
        ([[0]], r"not int64 of shape \(1, 1\)"),
        ([0, 0], r"not int64 of shape \(2,\)"),
        ([[0.0, 0.0]], r"not float32 of shape \(1, 2\)"),
    ],
)
def test_labels_that_the_columns_do_not_have(attributes, labels, why):
    with pytest.raises(InputError, match=r"labels are a row of integers a picture \(.*\), " + why):
        attributes[0](torch.tensor(labels))


def test_yes_and_no_are_one_and_zero(attributes):
    draw = lambda kind: attributes[0](torch.tensor([[1, 0]]).to(kind), guidance_scale=3).pixels
    assert torch.equal(draw(torch.bool), draw(torch.int64)) and torch.equal(draw(torch.uint8), draw(torch.int64))


def test_names_that_cannot_be_said(tmp_path):
    made_table(tmp_path, each=4)
    table = (tmp_path / "labels.csv").read_text().replace("file,color", 'file,"w,cm"')
    (tmp_path / "labels.csv").write_text(table)
    with pytest.raises(InputError, match="'w,cm' in .* cannot be told from attribute=value"):
        load_data(f"csv:{tmp_path / 'labels.csv'}")


def test_a_broken_picture_of_a_rare_combination_is_skipped(tmp_path):
    made_table(tmp_path, each=3)
    for i in (1, 2):
        (tmp_path / f"red-north west-{i}.png").write_bytes(b"")
    (tmp_path / "red-north west-0.png").write_bytes(b"")
    assert len(load_data(f"csv:{tmp_path / 'labels.csv'}").skipped) == 3


# --- every recipe ---

RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_a_recipe_builds_and_takes_a_step(path, tmp_path):
    recipe = read_recipe(path)
    if recipe.data != "digits":
        made, _ = made_table(tmp_path, size=int(recipe.size or 32), each=4)
        several = path.stem == "celeba_attributes"
        recipe = dataclasses.replace(recipe, data=made, label_columns=None if several else ["color"])
    quick = dict(minutes=None, steps=2, out=str(tmp_path / "run"), num_inference_steps=2, perceptual=0.0)
    pipe = train(dataclasses.replace(recipe, **quick), progress=False)
    assert pipe(None).pixels.shape[2:] == tuple(load_data(recipe.data, size=recipe.size).train.size)


def test_one_net_from_32_to_256(tmp_path):
    made, _ = made_table(tmp_path, each=4)
    nets = set()
    for size in (32, 64, 128, 256):
        data = load_data(made, size=size, label_columns=["color"])
        for codec in ("pixels", "space_to_depth", "kl"):
            large = Machine("cpu", bf16=False, rate=100.0, memory=1000.0)  # 128x128 positions look at one another
            config = plan(Recipe(made, widths=[32, 64], codec=codec), data, machine=large).config
            nets.add(json.dumps({k: v for k, v in config["net"]["args"].items() if k != "channels"}))
            assert build(config["codec"]).size == (size, size)
    assert len(nets) == 1


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="only Linux tells how much memory was used")
def test_the_large_recipe_fits_the_memory_it_states(tmp_path):
    made, _ = made_table(tmp_path, size=256, each=4)
    program = (  # not ru_maxrss, which a child takes over from a large parent
        "from pathlib import Path; from classypics.cli import main; main(); "
        "print('took', Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    options = ["--config", str(ROOT / "recipes" / "faces_256.yaml"), "--data", made, "--label-columns", "color"]
    options += ["--steps", "4", "--perceptual", "0", "--num-inference-steps", "2", "--out", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-c", program, "train", *options], capture_output=True, text=True,
                          env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=600)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    stated = float(done.stdout.split("about ")[1].split(" GB")[0]) * 1000
    took = float(done.stdout.split("took ")[1]) * 1024 / 1e6
    assert took < 1.25 * stated, f"stated {stated:.0f} MB, took {took:.0f}"
