"What a person's mistakes get: one sentence, exit status 2, nothing lost."

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image
from refresh import ROOT
from safetensors import SafetensorError
from safetensors.torch import load_file

from classypics import recipe as recipes
from classypics.cli import COMMANDS, _parser, run
from classypics.core import InputError, replacing
from classypics.metrics import FeatureNet
from classypics.panel import sentence
from classypics.pipeline import Pipeline
from classypics.recipe import Recipe, _alone, _previews, check, read_recipe, report, save_image, tidy, train


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    out = tmp_path_factory.mktemp("models") / "digits"
    train(Recipe("digits", out=str(out), steps=20, widths=[8, 16]), progress=False)
    return out


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for name, colour in {"red": (200, 30, 30), "a b_c": (30, 30, 200)}.items():
        (root / name).mkdir()
        for i in range(12):
            Image.new("RGB", (28, 20), tuple(c + i for c in colour)).save(root / name / f"{i}.png")
    return root


MISTAKES = {
    "trian --data digits": "did you mean 'train'",
    "train": "needs data",
    "train --data digts": "did you mean 'digits'",
    "train --data folder:not/there": "not/there",
    "train --data digits --minuts 3": "did you mean '--minutes'",
    "train --data digits --step 3": "unknown option '--step'",
    "train --data digits --steps many": "--steps takes a whole number, not 'many'",
    "train --data digits --steps 0": "steps must be a number above 0",
    "train --data digits --minutes -1": "minutes must be a number above 0",
    "train --data digits --minutes inf": "minutes must be a number above 0",
    "train --data digits --minutes 1:30": "--minutes takes a number, not '1:30'",
    "train --data digits --steps 1e3": "--steps takes a whole number, not '1e3'",
    "train --data digits --film-conditioning maybe": "--film-conditioning takes true or false, not 'maybe'",
    "train --data digits --accumulate 100": "100 are too many",
    "train --data digits --label-dropout 0 --guidance-scale 2": "guidance_scale must be 1",
    "train --data digits --codec pixels --factor 2": "pixels makes pictures 1 times smaller, not 2",
    "train --data digits --codec kl --factor 3": "2, 4 or 8 times smaller, not 3",
    "train --data digits --codec space_to_detph": "did you mean 'space_to_depth'",
    "train --data digits --codec diffusers:not/there": "diffusers:not/there is no AutoencoderKL",
    "train --data digits --codec fashion-mnist": "unknown codec 'fashion-mnist'",
    "train --data digits --size 16 --codec MODEL": "made for 8x8 pixels in grey, and these have 16x16 pixels in grey",
    "train --data digits --codec MODEL --channels 3": "8x8 pixels in colour",
    "train --data digits --codec kl --factor 8": "too small for 2 levels",
    "train --data digits --film-conditioning false": "or by cross_attention",
    "train --data digits --codec kl --codec-share 1": "codec_share must lie between",
    "train --data digits --codec vq --accumulate 2": "follows whole batches",
    "train --data digits --codec vq --codes 0": "codes must be a number above 0",
    "train --data digits --widths 32,none": "widths are whole numbers",
    "train --data digits --guidance-interval 5,1": "two levels of sigma, the lower one first",
    "train --data digits --augment RandomCrop(32)": "RandomCrop(32)",
    "train --data digits --resume --overwrite": "give one of them",
    "demo --minutes 0": "minutes must be a number above 0",
    "train --data digits --steps 5 --minutes 1": "either steps or minutes",
    "train --data digits --batch-size 0": "batch_size must be a number above 0",
    "train --data digits --size 0": "size '0' is out of range",
    "train --data digits --size big": "size 'big' is not a size",
    "train --data digits --widths 8,8,8,8,8": "too small for 5 levels",
    "train --data digits --prediction epsilon": "unknown prediction 'epsilon'",
    "train --data digits --schedule karras": "unknown schedule 'karras'",
    "train --data digits --augment flop": "did you mean 'flip'",
    "train --data digits --device tpu": "device 'tpu' cannot be used here",
    "train --config not-there.yaml --data digits": "not-there.yaml",
    "train digits": "digits",
    "sample MODEL --class eleven": "unknown class 'eleven'",
    "sample MODEL --num-images 0": "num_images must be at least 1",
    "sample MODEL --num-inference-steps 0": "num_inference_steps must be at least 1",
    "sample MODEL --sampler magic": "unknown sampler 'magic'",
    "sample MODEL --out OUT/pictures.doc": "has no ending of an image file",
    "sample MODEL --out OUT/pictures.xbm": "has no ending of an image file",
    "sample not-there": "unknown model 'not-there'",
    "sample fashion-mnits": "did you mean 'fashion-mnist'",
    "sample MODEL --guidance-scale -1": "guidance_scale must be 0 or more",
    "sample MODEL --film x.jpg": "a film is a .gif",
    "evaluate MODEL --num-images 0": "num_images is 0",
    "evaluate MODEL --num-images 3": "num_images is 3",
    "evaluate MODEL --sampler magic": "unknown sampler 'magic'",
    "panel fashion-mnits": "did you mean 'fashion-mnist'",
    "panel MODEL --port 70000": "a port is a number from 1 to 65535",
    "panel MODEL --port http": "--port takes a whole number",
    "panel MODEL --ip 192.0.2.7": "no address of this computer",
    "data folder:not/there": "not/there",
    "data": "data",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_one_sentence_before_anything_is_done(line, model, tmp_path, monkeypatch):
    monkeypatch.setenv("CLASSYPICS_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.chdir(tmp_path)  # where `sample` writes what was given no --out
    arguments = [a.replace("MODEL", str(model)).replace("OUT", str(tmp_path)) for a in line.split()]
    with pytest.raises(InputError) as mistake:
        run(arguments)
    said = str(mistake.value)
    assert MISTAKES[line] in said and "\n" not in said, said
    assert not list(tmp_path.rglob("*.safetensors")) and not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("data: digits\nminuts: 3\n", "minuts"),
        ("- digits\n", "recipe"),
        ("data: digits\nsteps: many\n", "steps cannot be 'many'"),
        ("data: digits\nsteps: yes\n", "steps cannot be True"),
        ("data: digits\nguidance_scale: no\n", "guidance_scale cannot be False"),
        ("data: digits\nminutes: 1:30  # one and a half\n", "minutes in .* cannot be 1:30: write a plain number"),
        ("data: digits\nwidths: {a: 1}\n", "widths cannot be {'a': 1}"),
        ("data: digits\nwidths: 32.0\n", "widths cannot be 32.0"),
        ("data: digits\naugment: 2\n", "augment cannot be 2"),
        ("a: [", "recipe"),
    ],
)
def test_a_wrong_recipe_file(text, expected, tmp_path):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(InputError, match=expected):
        run(["train", "--config", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_a_recipe_is_read_as_it_is_meant(photos, tmp_path):
    (tmp_path / "recipe.yaml").write_text("data: digits\nlr: 3e-3\nsteps: 2\naugment: ['RandomCrop(8, padding=1)']\n")
    run(["train", "--config", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run")])
    assert read_recipe(tmp_path / "run" / "recipe.yaml").lr == 0.003
    files = sorted(photos.rglob("*.png"))
    lines = [f"{f},{f.parent.name},{'odd' if i % 2 else 'even'}" for i, f in enumerate(files)]
    (tmp_path / "table.csv").write_text("\n".join(["file,kind,place", *lines]))
    for columns in (("kind", "place"), "kind, place", ["kind", "place"]):  # the first begins, the others go on
        train(
            Recipe(f"csv:{tmp_path / 'table.csv'}", label_columns=columns, steps=2, out=tmp_path / "several"),
            resume=True, progress=False,
        )  # fmt: skip


def test_exit_status_and_no_traceback(tmp_path):
    command = [sys.executable, "-m", "classypics", "train", "--data", "folder:nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("classypics: ") and done.stderr.count("\n") == 1 and "nowhere" in done.stderr


def test_another_run_is_never_written_over(model):
    before = {p: p.read_bytes() for p in model.rglob("*") if p.is_file()}
    for options in (["--data", "digits"], ["--resume", "--lr", "0.1"], ["--resume", "--data", "mnist"]):
        with pytest.raises(InputError, match="--overwrite"):
            run(["train", "--out", str(model), *options])
    assert {p: p.read_bytes() for p in model.rglob("*") if p.is_file()} == before


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="belong to no run"):
        run(["train", "--data", "digits", "--out", str(tmp_path), "--overwrite"])
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_a_folder_of_photographs_from_end_to_end(photos, tmp_path):
    out = tmp_path / "run"
    run(["train", "--data", f"folder:{photos}", "--steps", "30", "--widths", "8,16", "--out", str(out)])
    picture, film = str(tmp_path / "new" / "x.png"), str(tmp_path / "x.gif")
    run(["sample", str(out), "--class", "a b_c", "--num-images", "3", "--out", picture, "--film", film])
    from classypics import Pipeline

    assert Pipeline.from_pretrained(out)("red").images[0].size == (28, 20)  # PIL says width first
    assert Image.open(film).n_frames == 24 and Image.open(picture).width > 3 * 28
    assert (out / "report.html").stat().st_size > 5000


def test_overwrite_removes_a_run_and_nothing_else(tmp_path):
    out, recipe = tmp_path / "run", ["--data", "digits", "--steps", "10", "--widths", "8"]
    run(["train", *recipe, "--out", str(out)])
    (out / "cat.png").write_bytes(b"saved here by a person")
    run(["train", *recipe, "--out", str(out), "--overwrite"])
    assert (out / "cat.png").read_bytes() == b"saved here by a person" and (out / "model.safetensors").exists()


def test_a_run_that_was_killed_before_it_began_is_none(tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    for left in ("config.json", ".recipe.yaml.123.tmp.yaml"):
        (out / left).write_text("{}")
    run(["train", "--data", "digits", "--steps", "2", "--widths", "8", "--out", str(out), "--resume"])
    assert (out / "model.safetensors").exists() and not list(out.glob(".*"))


def test_a_person_may_keep_pictures_beside_the_previews(model, tmp_path):
    out = shutil.copytree(model, tmp_path / "run")
    (last,) = _previews(out)[-1:]
    shutil.copy(last, out / "samples" / "7-shoes.png")
    shutil.copy(last, out / "samples" / "1000020.png")  # one of a long run
    shutil.copy(last, out / "samples" / "999999.png")
    assert [p.stem for p in _previews(out)[-2:]] == ["999999", "1000020"]
    report(out)
    run(["train", "--data", "digits", "--steps", "1", "--widths", "8", "--out", str(out), "--overwrite"])
    assert [p.name for p in sorted((out / "samples").iterdir())] == ["000001.png", "7-shoes.png"]


def test_the_demonstration_removes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("CLASSYPICS_OUTPUTS", str(tmp_path))
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "config.json").write_text("of a run on folder:demo")
    with pytest.raises(InputError, match="holds a run"):
        run(["demo"])
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["config.json"]


def test_a_sheet_that_is_too_large_for_its_kind_of_file_is_not_lost(tmp_path):
    wide = Image.new("L", (17_000, 2))
    with pytest.raises(InputError, match=".webp does not take 17000x2 pixels .*: the picture is in .*x.webp.png"):
        save_image(wide, tmp_path / "x.webp")
    assert [p.name for p in tmp_path.iterdir()] == ["x.webp.png"]
    assert Image.open(tmp_path / "x.webp.png").size == (17_000, 2)


def test_two_processes_do_not_train_one_run(tmp_path):
    line = ["train", "--data", "digits", "--steps", "1", "--widths", "8", "--out", str(tmp_path / "run")]
    with _alone(tmp_path / "run"):
        with pytest.raises(InputError, match="another process trains in .*run: wait for it"):
            run(line)
        assert not list((tmp_path / "run").iterdir())
    run(line)


def test_processes_that_would_train_together_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")  # as torchrun says it
    with pytest.raises(InputError, match="one process: start it without torchrun"):
        train(Recipe("digits", steps=1, widths=[8], out=str(tmp_path / "run")), progress=False)
    assert not (tmp_path / "run").exists()


def test_a_run_that_another_process_made_meanwhile_is_kept(tmp_path, monkeypatch):
    recipe, planned = Recipe("digits", out=str(tmp_path / "run"), steps=1, widths=[8]), recipes.plan

    def slow_plan(*args):
        monkeypatch.setattr(recipes, "plan", planned)
        train(recipe, progress=False)  # the other one
        return planned(*args)

    monkeypatch.setattr(recipes, "plan", slow_plan)
    with pytest.raises(InputError, match="another process has trained in .*run meanwhile"):
        train(recipe, progress=False)
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_a_folder_of_pictures_does_not_hide_a_model(tmp_path, monkeypatch):
    (tmp_path / "fashion-mnist" / "shoes").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    run(["sample", "fashion-mnist", "--class", "Bag", "--num-images", "1", "--num-inference-steps", "1"])
    assert (tmp_path / "pictures.png").exists()


def test_a_name_is_no_part_of_the_page(model, tmp_path):
    strange = shutil.copytree(model, tmp_path / "<img src=x onerror=alert(1)>")
    assert "<img src=x" not in report(strange).read_text()


@pytest.mark.parametrize("part, value", [
    ("guidance_interval", [None, 5.0]), ("num_inference_steps", 1.5), ("num_inference_steps", 12.0), ("sampler", None),
])  # fmt: skip
def test_a_model_that_could_not_draw_is_not_loaded(part, value, model, tmp_path):
    bent = shutil.copytree(model, tmp_path / "bent")
    config = json.loads((bent / "config.json").read_text())
    config["defaults"][part] = value
    (bent / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError):
        Pipeline.from_pretrained(bent)


def test_scores_of_a_model_that_cannot_be_written_to_are_kept_elsewhere(model, tmp_path, monkeypatch):
    monkeypatch.setenv("CLASSYPICS_OUTPUTS", str(tmp_path))
    monkeypatch.setattr("classypics.recipe.os.access", lambda path, mode: False)  # tests may run as root
    judge = lambda pictures, **options: FeatureNet(pictures.channels, pictures.columns).freeze()  # knows nothing
    monkeypatch.setattr("classypics.recipe.train_judge", judge)
    before = {p: p.stat().st_mtime_ns for p in model.rglob("*")}
    run(["evaluate", str(model), "--num-images", "20", "--num-inference-steps", "1"])
    assert (tmp_path / "evaluated" / model.name / "scores.json").exists()
    assert before == {p: p.stat().st_mtime_ns for p in model.rglob("*")}


@pytest.mark.parametrize("file, words", [
    ("resume/codec.safetensors", "codec.safetensors cannot be used"), ("config.json", "config.json is damaged"),
    ("resume/state.safetensors", "state.safetensors cannot be used"),
])  # fmt: skip
def test_a_damaged_run_is_one_sentence(file, words, tmp_path, monkeypatch):
    def gone(log, step):
        if step.done == 20:
            raise RuntimeError("the power is gone")

    monkeypatch.setattr("classypics.recipe._Log.add", gone)
    out = tmp_path / "run"
    with pytest.raises(RuntimeError, match="the power is gone"):
        train(Recipe("digits", out=str(out), steps=30, widths=[8], save_every=0.01), progress=False)
    whole = (out / file).read_bytes()
    (out / file).write_bytes(whole[: len(whole) // 2])
    monkeypatch.undo()
    with pytest.raises(InputError, match=words):
        run(["train", "--out", str(out), "--resume"])


def test_models_at_hand_are_those_of_the_demonstration_too(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CLASSYPICS_OUTPUTS", str(tmp_path))
    for run_in in ("photos", "demo/digits", "far/too/deep"):
        shutil.copytree(model, tmp_path / run_in)
    (tmp_path / "photos" / "model.safetensors").unlink()  # nothing is trained yet
    run(["models"])
    told = capsys.readouterr().out
    assert "fashion-mnist" in told and str(tmp_path / "demo" / "digits") in told
    assert str(tmp_path / "photos") not in told and "deep" not in told


def test_texts_are_read_as_they_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = ["train", "--data", "digits", "--steps", "1", "--widths", "8", "--out"]
    for folder in ("#1", "null", "1e3"):
        run([*line, folder])
        assert (tmp_path / folder / "model.safetensors").exists()


def program(*line, **options):
    command = [sys.executable, "-m", "classypics", *line]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_a_reader_that_has_seen_enough_and_a_disk_that_cannot_be_written_to(tmp_path):
    process = program("models")
    process.stdout.close()  # as `head` does
    assert process.wait() in (0, 1) and process.stderr.read() == ""
    closed = program("models", preexec_fn=lambda: os.close(1))  # there is no standard output at all
    assert closed.wait() == 0 and closed.stderr.read() == ""
    said = program("sample", "fashion-mnist", "--class", "Bag", "--num-images", "1", "--out", "/proc/x.png")
    assert "classypics: " in (error := said.communicate()[1]) and "choose another path" in error, error
    assert said.returncode == 2 and "Traceback" not in error


def test_a_full_disk_is_called_by_its_name(tmp_path):
    with pytest.raises(OSError, match="No space left") as full:
        with replacing(tmp_path / "state.safetensors"):
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert "the disk is full" in sentence(full.value) and not list(tmp_path.iterdir())


def test_the_help_says_defaults_and_no_types(capsys):
    for command in COMMANDS:
        said = _help(command, capsys)
        assert said.startswith(f"usage: classypics {command}") and not re.search("null|type: |None|SUPPRESS", said)
    training = " ".join(_help("train", capsys).split())
    assert "learning rate (default: 0.003)" in training and "of all that is random (default: 0)" in training
    assert "picture k has seed + k (default: 0)" in " ".join(_help("sample", capsys).split())


def _help(command: str, capsys) -> str:
    with pytest.raises(SystemExit):
        run([command, "--help"])
    return capsys.readouterr().out


def test_resume_refuses_changed_pictures(photos, tmp_path):
    root, out = tmp_path / "photos", tmp_path / "run"
    shutil.copytree(photos, root)
    with pytest.raises(InputError, match="no longer a number"):  # a run that has begun and is not finished
        train(Recipe(f"folder:{root}", out=str(out), steps=50, lr=1e30, widths=[8]), progress=False)
    Image.new("RGB", (28, 20), "green").save(root / "red" / "new.png")
    with pytest.raises(InputError, match="the pictures of .*photos have changed"):
        run(["train", "--out", str(out), "--resume"])


def test_a_run_that_was_moved_goes_on(photos, tmp_path):
    root, out = tmp_path / "photos", tmp_path / "run"
    shutil.copytree(photos, root)
    with pytest.raises(InputError, match="no longer a number"):  # a run that has begun and is not finished
        train(Recipe(f"folder:{root}", out=str(out), steps=50, lr=1e30, widths=[8]), progress=False)
    told = (out / "recipe.yaml").read_text().replace("device: auto", "device: cuda")
    (out / "recipe.yaml").write_text(told)  # as if it had been begun on another machine
    root.rename(tmp_path / "moved")
    for asked in (f"folder:{tmp_path / 'moved'}", "digits"):
        with pytest.raises(InputError, match="have changed" if asked == "digits" else "no longer a number"):
            run(["train", "--out", str(out), "--resume", "--data", asked, "--device", "cpu"])
    kept = (out / "recipe.yaml").read_text()
    assert read_recipe(out / "recipe.yaml").data == f"folder:{tmp_path / 'moved'}" and "device: \"cpu\"" in kept
    assert kept.count("#") == told.count("#") > 2  # the reasons behind the other fields


def test_a_model_without_its_training_is_not_begun_anew(model, tmp_path):
    given = shutil.copytree(model, tmp_path / "given", ignore=shutil.ignore_patterns("resume"))
    before = {p: p.read_bytes() for p in given.rglob("*") if p.is_file()}
    with pytest.raises(InputError, match="nothing of its training to go on with.*--start-from"):
        run(["train", "--out", str(given), "--resume"])
    assert {p: p.read_bytes() for p in given.rglob("*") if p.is_file()} == before


def test_a_finished_run_gives_its_model_again(model, tmp_path):
    again = shutil.copytree(model, tmp_path / "again")
    (again / "model.safetensors").unlink()
    run(["train", "--out", str(again), "--resume"])
    assert (again / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()


def test_a_loss_that_is_no_number_keeps_what_was_learned(photos, tmp_path):
    out = tmp_path / "run"
    recipe = ["--data", f"folder:{photos}", "--lr", "1e30", "--steps", "50", "--widths", "8"]
    with pytest.raises(InputError, match="no longer a number in step"):
        run(["train", *recipe, "--out", str(out)])
    tensors = load_file(out / "resume" / "state.safetensors")
    assert all(t.isfinite().all() for t in tensors.values())


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda p: p.stem)
def test_recipes_are_understood(recipe):
    parser = _parser("", prog="train")
    COMMANDS["train"][0](parser)
    assert parser.parse_args(["--config", str(recipe), "--steps", "3"]).steps == 3
    tidy(read_recipe(recipe))
    check(read_recipe(recipe))


def test_steps_on_the_command_line_win_over_minutes_in_the_file(tmp_path):
    run(["train", "--config", str(ROOT / "recipes" / "digits.yaml"), "--steps", "5", "--out", str(tmp_path / "run")])
    stored = read_recipe(tmp_path / "run" / "recipe.yaml")
    assert (stored.steps, stored.minutes) == (5, None)
