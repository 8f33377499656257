"On real pictures, where CLASSYPICS_DATA points at them; skipped with the reason where it does not."

import os

import pytest
import torch

from classypics import Pipeline, load_data
from classypics.cli import run
from classypics.metrics import agreement, train_judge
from classypics.pipeline import shipped


@pytest.fixture
def flowers(real_data):
    if not (real_data / "flowers12").exists():
        pytest.skip("flowers12 is not among the real data")
    return real_data / "flowers12"


def test_photographs_train_without_an_edit(flowers, tmp_path):
    out = tmp_path / "flowers"
    asked = ["--size", "48", "--augment", "flip,shift=2", "--steps", "6", "--num-inference-steps", "2"]
    run(["train", "--data", f"folder:{flowers}", *asked, "--out", str(out)])
    drawn = Pipeline.from_pretrained(out)("sunflower")
    assert drawn.pixels.shape == (1, 3, 48, 48) and (out / "report.html").exists()


def test_a_zip_of_folders_is_a_data_set(real_data):
    archive = real_data / "cifar10-jpeg.zip"
    if not archive.exists():
        pytest.skip("cifar10-jpeg.zip is not among the real data")
    data = load_data(f"folder:{archive}")
    assert (len(data.train), len(data.test), len(data.train.classes)) == (50_000, 10_000, 10)
    assert data.train.pictures([0, 49_999]).shape == (2, 3, 32, 32) and not data.skipped


SHIPPED = {  # name: (where its pictures are, agreement of real ones at least, of drawn ones at least)
    "cifar10": ("cifar10-jpeg.zip", 0.7, 0.7),
    "fashion-mnist": ("FashionMNIST", 0.9, 0.85),
    "mnist": ("MNIST", 0.97, 0.95),
}


@pytest.fixture
def all_cores():
    "The judges are the longest work of all tests, and nothing runs beside them."
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_model_draws_what_it_is_asked_for(name, real_data, all_cores):
    place, real, least = SHIPPED[name]
    if not (real_data / place).exists():
        pytest.skip(f"{place} is not among the real data")
    data = load_data(f"folder:{real_data / place}" if place.endswith(".zip") else name)
    pipe = Pipeline.from_pretrained(name)
    judge = train_judge(data.train)
    assert list(pipe.classes) == list(data.train.classes)
    drawn = pipe(list(pipe.classes), num_images=30)
    labels = pipe.denoiser.conditioner.parse(drawn.classes)
    some = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))[:2000]
    assert agreement(data.test.pictures(some), data.test.labels[some], network=judge).overall.value > real
    assert agreement(drawn.pixels, labels, network=judge).overall.value > least
