"What `classypics.augment` changes, keeps, and refuses."
import pytest
import torch

from classypics.augment import Augment, crop, flip, shift, views
from classypics.core import InputError, generator


@pytest.fixture
def x():
    return torch.rand(16, 3, 12, 10, generator=generator("pictures")) * 2 - 1


def draw():
    return generator(0, "augment")


@pytest.mark.parametrize("specs", [
    "flip", "shift=3", "crop=0.5", "ColorJitter(brightness=0.5, hue=0.1)", "RandomRotation(30)",
    "random-erasing(p=1.0)", ["flip", "shift", "crop", "GaussianBlur(3)"], "RandAugment", [],
])  # fmt: skip
def test_same_address_same_pictures_and_the_contract(x, specs):
    augment, kept = Augment(specs, shape=x.shape[1:]), x.clone()
    state = torch.random.get_rng_state()
    y = augment(x, draw())
    assert torch.equal(torch.random.get_rng_state(), state)  # the global generator is as it was
    assert y.shape == x.shape and y.dtype == x.dtype and y.abs().max() <= 1 and torch.equal(x, kept)
    torch.manual_seed(5)
    assert torch.equal(y, augment(x, draw()))
    if specs:
        assert not torch.equal(y, augment(x, generator(1, "augment")))


@pytest.mark.parametrize("specs", ["flip", "shift=3", "crop=0.5", "ColorJitter(brightness=0.5)", "RandomRotation(30)"])
def test_each_picture_has_its_own_numbers(x, specs):
    y = Augment(specs)(x[:1].repeat(16, 1, 1, 1), draw())
    assert len({p.numpy().tobytes() for p in y}) > 1


def test_flip_mirrors_the_share(x):
    assert torch.equal(flip(x, draw(), share=1), x.flip(-1)) and torch.equal(flip(x, draw(), share=0), x)
    assert torch.equal(flip(flip(x, draw()), draw()), x)
    many = x[:1].repeat(4000, 1, 1, 1)
    changed = (flip(many, draw(), share=0.3) != many).flatten(1).any(1).float().mean()
    assert changed.item() == pytest.approx(0.3, abs=0.03)


def test_shift_is_a_translation_with_the_edge_going_on(x):
    y = shift(x, draw(), pixels=2)
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")
    windows = {}
    for k, p in enumerate(y):
        at = [(i, j) for i in range(5) for j in range(5) if torch.equal(padded[k, :, i : i + 12, j : j + 10], p)]
        assert len(at) == 1
        windows[at[0]] = True
    assert len(windows) > 4


@pytest.mark.parametrize("specs", ["flip", "shift(pixels=1)", "flip, shift=2", ["shift", "Flip"], "shift=4, flip(1.0)"])
def test_what_training_shows_is_among_the_views(x, specs):
    ways = list(views(x, specs))
    assert any(torch.equal(way, x) for way in ways)
    for shown in (Augment(specs, shape=x.shape[1:])(x, generator(step)) for step in range(3)):
        assert all(any(torch.equal(p, way[k]) for way in ways) for k, p in enumerate(shown))


def test_views_are_few_and_bytes_stay_bytes(x):
    pictures = (x * 100).to(torch.uint8)
    specs = ("", "RandAugment", "flip", "shift=64", "shift=0", "shift=1, shift=2")
    count = {words: len(list(views(pictures, words))) for words in specs}
    assert list(count.values()) == [1, 1, 2, 81, 1, 49]
    assert all(way.dtype == torch.uint8 for way in views(pictures, "flip, shift=1"))


def test_crop_of_a_ramp_is_a_part_of_the_ramp():
    ramp = torch.linspace(-1, 1, 33).expand(200, 1, 33, 33)
    y = crop(ramp, draw(), smallest=0.5)
    slope = (y[:, 0, 16, -2] - y[:, 0, 16, 1]) / (ramp[0, 0, 0, -2] - ramp[0, 0, 0, 1])
    assert slope.min() >= 0.49 and slope.max() <= 1.01 and slope.std() > 0.1  # enlarged up to twice, each its own
    assert (y - y[:, :, :1]).abs().max() < 1e-5  # no rotation
    torch.testing.assert_close(crop(ramp, draw(), smallest=1.0), ramp, atol=1e-5, rtol=0)


def test_order_is_that_of_the_words(x):
    g = draw()
    by_hand = flip(shift(x, g, pixels=2), g)
    assert torch.equal(Augment("shift=2, flip")(x, draw()), by_hand)


def test_grey_and_double(x):
    for y in (x[:, :1], x.double()):
        assert Augment("flip, shift, crop, RandomRotation(5)")(y, draw()).dtype == y.dtype


def test_lists_cut_by_yaml_are_mended():
    yaml = pytest.importorskip("yaml")
    specs = yaml.safe_load("augment: [flip, shift=2, ColorJitter(brightness=0.2, contrast=0.1)]")["augment"]
    assert len(specs) == 4
    assert Augment(specs).specs == ["flip", "shift=2", "ColorJitter(brightness=0.2, contrast=0.1)"]
    assert Augment(Augment(specs).specs).specs == Augment(specs).specs


@pytest.mark.parametrize("spec, words", [
    ("fliip", "did you mean 'flip'"), ("ColourJitter", "did you mean 'ColorJitter'"),
    ("shift=-1", "whole number"), ("shift=1.5", "whole number"), ("shift='a'", "whole number"), ("flip=2", "0 to 1"),
    ("flip=True", "0 to 1"), ("crop=0", "0.1 to 1"), ("crop(2, smallest=1)", "nothing else"),
    ("flip(p=0.5)", "nothing else"),
    ("ColorJitter(brigtness=1)", "brigtness"), ("Normalize", "codec"), ("Resize(8)", "--size"), ("MixUp", "labels"),
    ("CenterCrop(8)", "same shape"), ("Grayscale", "same shape"), ("ToPILImage", "fails on"),
    ("flip(**x)", "cannot be read"), ("flip(a)", "cannot be read"), ("f.lip", "cannot be read"),
    ("flip()()", "cannot be read"),
    ("(", "cannot be read"), ("flip)", "cannot be read"),
])  # fmt: skip
def test_mistakes_are_found_when_the_words_are_read(spec, words):
    with pytest.raises(InputError) as caught:
        Augment(spec)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_nothing_is_run(tmp_path):
    for evil in (f"flip(open({str(tmp_path / 'made')!r}, 'w'))", "__import__('os').getcwd()", "shift=__import__('os')"):
        with pytest.raises(InputError):
            Augment(evil)
    assert not list(tmp_path.iterdir())


def test_what_only_fails_on_these_pictures_is_refused_by_shape():
    Augment("RandomCrop(32)")
    with pytest.raises(InputError, match="RandomCrop"):
        Augment("RandomCrop(32)", shape=(1, 28, 28))
