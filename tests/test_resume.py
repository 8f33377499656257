"A run killed at any moment and resumed ends in the same bytes as one that was left alone."

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from classypics import recipe
from classypics.codec import Pixels
from classypics.core import InputError
from classypics.data import Batches, load_data
from classypics.denoiser import ClassLabels, Denoiser, DenoisingTask
from classypics.recipe import Recipe, read_log, train
from classypics.schedule import LogNormal
from classypics.train import fit
from classypics.unet import UNet

OPTIONS = "--data digits --steps 300 --batch-size 16 --widths [8,16] --save-every 0.2 --num-inference-steps 2".split()


def start(out, *more):
    program = "from classypics.cli import main; main()"
    command = [sys.executable, "-c", program, "train", *OPTIONS, "--out", str(out), *more]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=one_thread)


def wait_for_step(process, out, step, stage=""):
    "Until the log has passed `step` and something has been saved that a resumed run can go on from."
    while True:
        rows = read_log(out / f"{stage}log.csv")
        if rows and rows[-1]["step"] >= step and (out / "resume" / f"{stage}state.safetensors").exists():
            return
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.01)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "one_go"
    process = start(out)
    assert process.wait() == 0, process.stdout.read()
    return out


def test_three_kills_change_nothing(undisturbed, tmp_path):
    out = tmp_path / "killed"
    for step in (40, 120, 220):
        process = start(out, "--resume")
        wait_for_step(process, out, step)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (out / "model.safetensors").exists()
    process = start(out, "--resume")
    said = process.communicate()[0]
    assert process.returncode == 0, said
    assert (out / "model.safetensors").read_bytes() == (undisturbed / "model.safetensors").read_bytes()
    steps = [row["step"] for row in read_log(out / "log.csv")]
    assert steps == sorted(set(steps)) and steps[-1] == 300


def test_interrupt_saves_and_says_how_to_go_on(undisturbed, tmp_path):
    out = tmp_path / "interrupted"
    process = start(out)
    wait_for_step(process, out, 50)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[0]
    assert process.returncode == 0 and "--resume" in said and "Traceback" not in said, said
    assert (out / "model.safetensors").exists() and (out / "report.html").exists()
    train(Recipe(out=str(out)), resume=True, progress=False)
    assert (out / "model.safetensors").read_bytes() == (undisturbed / "model.safetensors").read_bytes()


def test_a_finished_run_says_so(undisturbed, capsys):
    before = (undisturbed / "model.safetensors").stat().st_mtime_ns
    train(Recipe(out=str(undisturbed)), resume=True)
    assert "finished" in capsys.readouterr().out
    assert (undisturbed / "model.safetensors").stat().st_mtime_ns == before


def test_a_codec_on_its_way_is_resumed_too(tmp_path):
    two_stages = ["--codec", "vq", "--codes", "16", "--adversarial", "0.02", "--codec-share", "0.5"]
    whole, killed = tmp_path / "one_go", tmp_path / "killed"
    process = start(whole, *two_stages)
    assert process.wait() == 0, process.stdout.read()
    for step, stage, how in ((50, "codec_", signal.SIGKILL), (100, "codec_", signal.SIGINT), (70, "", signal.SIGKILL)):
        process = start(killed, *two_stages, "--resume")
        wait_for_step(process, killed, step, stage)
        process.send_signal(how)
        said = process.communicate()[0]
        assert not (killed / "model.safetensors").exists()
        assert how == signal.SIGKILL or "while learning the codec" in said and "--resume" in said, said
    process = start(killed, *two_stages, "--resume")
    said = process.communicate()[0]
    assert process.returncode == 0, said
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert not list((killed / "resume").glob("codec_state*"))


def test_a_last_step_that_failed_is_come_back_to(tmp_path, monkeypatch):
    out, whole = tmp_path / "full_disk", recipe.save_image
    short = dict(steps=4, batch_size=16, widths=[8, 16], save_every=0.001, num_inference_steps=2)
    asked = Recipe("digits", out=str(out), **short)

    def full(image, path):
        if path.name == "000004.png":
            raise OSError("no space left on device")
        whole(image, path)

    monkeypatch.setattr(recipe, "save_image", full)
    with pytest.raises(OSError, match="no space"):
        train(asked, progress=False)
    assert not (out / "model.safetensors").exists()
    monkeypatch.undo()
    train(asked, resume=True, progress=False)
    assert (out / "model.safetensors").exists() and (out / "samples" / "000004.png").exists()


@pytest.mark.parametrize("began, goes_on, how", [({"steps": 3}, 5, "of 3 steps"), ({"minutes": 9}, 5, "by minutes")])
def test_a_state_of_another_length_is_no_beginning(tmp_path, began, goes_on, how):
    digits = load_data("digits").train
    denoiser = Denoiser(UNet(1, widths=[8]), ClassLabels(list(digits.classes)))
    task, batches = DenoisingTask(denoiser, Pixels(1, (8, 8)), LogNormal()), Batches(digits, 4, seed=0)
    run = fit(task, batches, state=tmp_path / "state", save_every=0.0, **began)
    next(run), run.close()
    with pytest.raises(InputError, match=f"began {how}: go on as it began, not to {goes_on} steps"):
        next(fit(task, batches, state=tmp_path / "state", steps=goes_on))


def test_a_pause_is_no_training(monkeypatch):
    digits, clock = load_data("digits").train, [0.0]
    monkeypatch.setattr("classypics.train.time", SimpleNamespace(monotonic=lambda: clock[0]))
    denoiser = Denoiser(UNet(1, widths=[8]), ClassLabels(list(digits.classes)))
    task = DenoisingTask(denoiser, Pixels(1, (8, 8)), LogNormal())
    run = fit(task, Batches(digits, 4, seed=0), minutes=10)
    for _ in range(5):
        next(run)
        clock[0] += 0.1
    clock[0] += 3600  # Ctrl-Z, and fg an hour later
    step = next(run)
    assert step.steps is None and step.seconds < 100
