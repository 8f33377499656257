"""The scores against closed forms and against torch-fidelity; the judge, its cache, and what is refused."""

import json, math, warnings
from pathlib import Path

import pytest
import torch
from classypics import metrics
from classypics.augment import shift
from classypics.core import InputError, generator, to_float, to_uint8
from classypics.data import Data, PictureSet, load_data
from classypics.metrics import (
    FEWEST_PICTURES, INCEPTION_WEIGHTS, Estimate, FeatureNet, agreement, fid, inception, inception_score, kid, look,
    nearest, score, train_judge, wilson,
)


def noise(*shape, seed=0):
    "uint8 pictures of noise."
    return torch.randint(0, 256, shape, generator=generator(seed, "noise"), dtype=torch.uint8)


@pytest.fixture(scope="session")
def digits():
    return load_data("digits")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("judges")


@pytest.fixture(scope="session")
def judge(digits, folder):
    return train_judge(digits.train, folder=folder)


@pytest.fixture
def few(monkeypatch):
    "Two kinds of small pictures that are easily told apart, dark and light ones; twenty steps are enough for them."
    fit = metrics.fit
    monkeypatch.setattr(metrics, "fit", lambda *args, **options: fit(*args, **options | {"steps": 20}))
    labels = torch.arange(200) % 2
    pictures = (noise(200, 1, 8, 8) // 4 + 100 * labels[:, None, None, None]).to(torch.uint8)
    return PictureSet(pictures, labels, columns=["dark", "light"])


# --- the network ---


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (28, 20), (32, 32), (64, 64), (96, 200)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_size_and_colour(size, channels):
    net = FeatureNet(channels, ["a", "b", "c"], num_features=24).freeze()
    features, logits = net.look(noise(2, channels, *size))
    assert features.shape == (2, net.num_features) and logits.shape == (2, 3)
    assert features.dtype == torch.float32


def test_bytes_of_enough_pixels_are_wanted():
    net = FeatureNet(1, ["a", "b"]).freeze()
    with pytest.raises(TypeError, match="to_uint8"):
        net(torch.zeros(1, 1, 8, 8))
    with pytest.raises(InputError, match="7x9 are too small"):
        net(noise(1, 1, 7, 9))


def test_a_frozen_network_stays_frozen(judge):
    before = {k: v.clone() for k, v in judge.state_dict().items()}
    judge.train()
    judge(noise(50, 1, 8, 8))
    assert not any(m.training for m in judge.modules()) and not any(p.requires_grad for p in judge.parameters())
    assert all(torch.equal(v, before[k]) for k, v in judge.state_dict().items())


def test_a_picture_is_seen_alike_alone_and_among_others(judge, digits):
    pictures = digits.test.pictures(range(120))
    together, alone = look(pictures, judge)[0], look(pictures[7:8], judge)[0]
    torch.testing.assert_close(together[7:8], alone, atol=1e-5, rtol=1e-5)


# --- the judge ---


def test_the_judge_knows_the_digits(judge, digits):
    assert judge.columns == digits.train.columns
    seen = agreement(digits.test.pictures(), digits.test.labels, network=judge)
    assert seen.overall.value > 0.95 and seen.overall.low < seen.overall.value < seen.overall.high
    right = (judge.look(digits.test.pictures())[1].argmax(1) == digits.test.labels[:, 0]).sum()
    assert seen.overall.value == right / len(digits.test)
    assert sum(e.n for e in seen.per_class["class"].values()) == len(digits.test)


def test_the_judge_is_trained_once(judge, digits, folder, monkeypatch):
    [file] = folder.glob("*.safetensors")
    before = file.stat().st_mtime_ns
    monkeypatch.setattr(metrics, "fit", lambda *a, **k: pytest.fail("trained again"))
    again = train_judge(digits.train, folder=folder)
    assert all(torch.equal(a, b) for a, b in zip(judge.state_dict().values(), again.state_dict().values()))
    assert file.stat().st_mtime_ns == before and list(folder.iterdir()) == [file]


def test_equal_judges_are_equal_to_the_byte_and_leave_chance_alone(few, tmp_path):
    files = []
    for k in range(2):
        torch.manual_seed(k)  # the judge must not care
        before = torch.random.get_rng_state()
        train_judge(few, folder=tmp_path / str(k))
        assert torch.equal(before, torch.random.get_rng_state())
        files += (tmp_path / str(k)).iterdir()
    assert files[0].name == files[1].name and files[0].read_bytes() == files[1].read_bytes()


def test_a_judge_belongs_to_its_pictures_and_seed(few, tmp_path):
    one = train_judge(few, folder=tmp_path)
    other = train_judge(few, seed=1, folder=tmp_path)
    less = train_judge(few.subset(range(100)), folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    assert not torch.equal(one.out.weight, other.out.weight) and not torch.equal(one.out.weight, less.out.weight)


@pytest.mark.parametrize("damage", ["truncated", "other", "not safetensors"])
def test_a_damaged_judge_is_trained_again(few, tmp_path, damage):
    good = train_judge(few, folder=tmp_path)
    [file] = tmp_path.iterdir()
    kept = file.read_bytes()
    other = kept.replace(b'\\"seed\\": 0', b'\\"seed\\": 9')
    broken = {"truncated": kept[:-100], "other": other, "not safetensors": b"?"}
    assert broken[damage] != kept
    file.write_bytes(broken[damage])
    again = train_judge(few, folder=tmp_path)
    assert torch.equal(good.out.weight, again.out.weight) and file.read_bytes() == kept


def test_judges_are_kept_among_the_outputs(few, tmp_path, monkeypatch):
    monkeypatch.setenv("CLASSYPICS_OUTPUTS", str(tmp_path))
    train_judge(few)
    [file] = (tmp_path / "judges").iterdir()
    assert few.fingerprint[:16] in file.name and file.suffix == ".safetensors"


# --- FID, KID and Inception Score ---


@pytest.fixture(scope="session")
def two_sets(digits):
    "Real pictures, and others spoiled by noise."
    real = digits.train.pictures(range(700))
    other = to_float(digits.train.pictures(range(700, 1400)))
    return real, to_uint8(other + 0.3 * torch.randn(other.shape, generator=generator("noisy")))


@pytest.fixture(scope="session")
def oracle(judge, two_sets):
    "What torch-fidelity says of the two sets through the same network, by its own way from pictures to figures."
    from torch_fidelity import calculate_metrics, register_feature_extractor
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    class Judge(FeatureExtractorBase):
        def __init__(self, name, features_list, **kwargs):
            super().__init__(name, features_list)
            self.judge = judge

        @staticmethod
        def get_provided_features_list():
            return "features", "logits"

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "logits" if metric == "isc" else "features"

        def forward(self, pictures):
            seen = dict(zip(("features", "logits"), self.judge.look(pictures)))
            return tuple(seen[f].double() for f in self.features_list)

    class Pictures(torch.utils.data.Dataset):
        def __init__(self, pictures):
            self.pictures = pictures

        def __len__(self):
            return len(self.pictures)

        def __getitem__(self, i):
            return self.pictures[i]

    register_feature_extractor("judge", Judge)
    a, b = map(Pictures, two_sets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"feature_extractor": "judge", "isc_splits": 1, "kid_subset_size": 350, "kid_subsets": 50}
        options |= {"cuda": False, "save_cpu_ram": True, "cache": False, "verbose": False}
        return calculate_metrics(input1=a, input2=b, fid=True, kid=True, isc=True, **options)


def test_fid_is_torch_fidelitys(oracle, judge, two_sets):
    ours = fid(*two_sets, network=judge)
    assert ours == pytest.approx(oracle["frechet_inception_distance"], abs=1e-4) and ours > 0.5


def test_kid_is_torch_fidelitys(oracle, judge, two_sets):
    mean, deviation = kid(*two_sets, network=judge)
    theirs = oracle["kernel_inception_distance_mean"], oracle["kernel_inception_distance_std"]
    assert mean == pytest.approx(theirs[0], abs=4 * theirs[1] / math.sqrt(50)) and mean > 2 * deviation
    assert 0.5 < deviation / theirs[1] < 2


def test_inception_score_is_torch_fidelitys(oracle, judge, two_sets):
    value, deviation = inception_score(two_sets[0], network=judge)
    assert value == pytest.approx(oracle["inception_score_mean"], abs=1e-6) and 0 < deviation < 2


def test_fid_of_a_set_and_itself_is_nought(judge, two_sets):
    assert 0 <= fid(two_sets[0], two_sets[0], network=judge) < 1e-6
    assert fid(*two_sets, network=judge) == pytest.approx(fid(*two_sets[::-1], network=judge), abs=1e-8)


def test_fid_is_the_closed_form_of_two_gaussians():
    "Samples whitened, then given exactly the means and covariances wanted: an affine map of the same Gaussian."
    rows = torch.randn(400, 6, generator=generator("gaussian"), dtype=torch.float64)
    rows = (rows - rows.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(rows.T.cov())).T
    mean = torch.tensor([1.0, -2, 0, 0, 3, 0], dtype=torch.float64)
    deviations = torch.tensor([1.0, 2, 3, 0.5, 1, 4], dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator("turn"), dtype=torch.float64))[0]
    assert fid(rows, rows * deviations + mean, network=None) == pytest.approx(
        float(mean.square().sum() + (deviations - 1).square().sum()), abs=1e-9)
    assert fid(rows @ turn, (rows * deviations + mean) @ turn, network=None) == pytest.approx(
        float(mean.square().sum() + (deviations - 1).square().sum()), abs=1e-9)  # the axes do not matter
    # covariances that do not commute: tr of the root, by way of the symmetric root
    a, b = torch.diag(deviations**2), turn @ torch.diag(deviations.flip(0) ** 2) @ turn.T
    values, vectors = torch.linalg.eigh(torch.diag(deviations) @ b @ torch.diag(deviations))
    expected = a.trace() + b.trace() - 2 * values.clamp(min=0).sqrt().sum()
    rotated = rows @ torch.linalg.cholesky(b).T
    assert fid(rows * deviations, rotated, network=None) == pytest.approx(float(expected), abs=1e-8)


def test_fid_is_refused_for_few_pictures_and_kid_is_not(judge, two_sets):
    a, b = (s[:639] for s in two_sets)
    with pytest.raises(InputError, match="64 features takes 640 pictures .* 639 and 639.*kid"):
        fid(a, b, network=judge)
    with pytest.raises(InputError, match="700 and 639"):
        fid(two_sets[0], b, network=judge)
    assert kid(a, b, network=judge)[0] > 0
    with pytest.raises(InputError, match=f"at least {FEWEST_PICTURES} pictures, and there are 19"):
        kid(a[:19], b, network=judge)


def test_kid_has_no_bias():
    "The mean over many pairs of small sets of one distribution is nought within its own error; FID's is not."
    rows = torch.randn(200, 2, 40, 4, generator=generator("kid"), dtype=torch.float64)
    values = torch.tensor([kid(a, b, network=None)[0] for a, b in rows[:60]])
    assert abs(values.mean()) < 3 * values.std() / math.sqrt(60)
    biased = torch.tensor([fid(a, b, network=None) for a, b in rows[:60]])
    assert biased.mean() > 10 * biased.std() / math.sqrt(60)


@pytest.mark.parametrize("sharpness", [50, 1e6])
def test_inception_score_at_its_ends(sharpness):
    sure = sharpness * torch.eye(7).repeat(12, 1)
    assert inception_score(sure, network=None)[0] == pytest.approx(7, abs=1e-9)  # sure of each, and of all kinds
    assert inception_score(sure[:1].expand(30, 7), network=None)[0] == pytest.approx(1, abs=1e-9)
    assert inception_score(torch.zeros(30, 7), network=None)[0] == pytest.approx(1, abs=1e-9)
    some = sharpness * torch.eye(7)[:3].repeat(12, 1)  # four classes never seen
    value, deviation = inception_score(some, network=None)
    assert value == pytest.approx(3, abs=1e-9) and math.isfinite(deviation)


def test_scores_leave_chance_alone_and_repeat(judge, two_sets):
    before = torch.random.get_rng_state()
    once = kid(*two_sets, network=judge), inception_score(two_sets[0], network=judge)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(5)
    assert once == (kid(*two_sets, network=judge), inception_score(two_sets[0], network=judge))
    assert kid(*two_sets, network=judge, seed=1) != once[0]


def test_copies_are_counted_where_too_few_are_held_out_for_the_rest(few, tmp_path):
    data = Data("made", few, few.subset(range(182, 200)), ((8, 8), (8, 8)), {})
    scores = score(few.pictures(range(40)), few.labels[:40], data, network=train_judge(few, folder=tmp_path))
    found = {f.name: f for f in scores.figures}
    assert found["nearer than 99 % of real"].drawn.value == 1 and "FID" not in found and "KID" not in found
    assert any("takes 20 held-out pictures, not 18" in note for note in scores.notes)
    assert found["nearer than 99 % of real"].drawn.n == 40  # all that were drawn


def test_held_out_pictures_that_were_learned_from_hide_no_copies(few, tmp_path):
    train, test = few.subset(range(160)), few.subset(range(150, 200))  # ten of them are in both
    drawn = (few.pictures(range(40)).int() + 3).clamp(max=255).to(torch.uint8)
    data = Data("made", train, test, ((8, 8), (8, 8)), {})
    scores = score(drawn, few.labels[:40], data, network=train_judge(few, folder=tmp_path))
    assert named(scores)["nearer than 99 % of real"].drawn.value == 1
    assert any(" of 40 held-out pictures are among the training pictures too" in note for note in scores.notes)


# --- agreement ---


@pytest.mark.parametrize("hits, n, low, high", [  # R's binom.confint(method = "wilson")
    (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718),
])
def test_wilson_interval(hits, n, low, high):
    "Known values: Newcombe, Statistics in Medicine 17 (1998), table I."
    assert wilson(hits, n) == pytest.approx((low, high), abs=1e-4)
    assert wilson(n - hits, n) == pytest.approx((1 - high, 1 - low), abs=1e-4)


class Brightness(torch.nn.Module):
    "Says dark or light by the first pixel."

    columns, name, num_features = {"class": ("dark", "light")}, "brightness", 1
    split = FeatureNet.split

    def __init__(self):
        super().__init__()
        self.zero = torch.nn.Parameter(torch.zeros(1))

    def look(self, pictures):
        light = pictures[:, 0, 0, 0].float() / 255
        return light[:, None], torch.stack([0.5 - light, light - 0.5], 1)


def test_agreement_counts():
    pictures = torch.zeros(12, 1, 8, 8, dtype=torch.uint8)
    pictures[6:] = 255
    labels = torch.tensor([0] * 4 + [1] * 2 + [1] * 6)
    seen = agreement(pictures, labels, network=Brightness())
    assert seen.overall == Estimate(10 / 12, 12, *wilson(10, 12))
    assert seen.per_column == {"class": seen.overall}
    by_class = {"dark": Estimate(1.0, 4, *wilson(4, 4)), "light": Estimate(6 / 8, 8, *wilson(6, 8))}
    assert seen.per_class == {"class": by_class}
    assert agreement(pictures, labels[:, None], network=Brightness()) == seen
    assert list(agreement(pictures[:4], labels[:4], network=Brightness()).per_class["class"]) == ["dark"]
    for wrong in (labels - 2, labels + 1, labels[:3], labels[:0], labels * 0 - 1, labels[:, None].expand(-1, 2)):
        with pytest.raises(InputError, match="a row of labels each: 0 to 1 for 'class'"):
            agreement(pictures, wrong, network=Brightness())


class Corners(Brightness):
    "Says dark or light by the first pixel, and left or right by the second."

    columns = {"tone": ("dark", "light"), "side": ("left", "middle", "right")}

    def look(self, pictures):
        tone = super().look(pictures)[1]
        return tone, torch.cat([tone, torch.eye(3)[pictures[:, 0, 0, 1].long()]], 1)


def test_agreement_counts_columns_by_themselves():
    pictures = torch.zeros(6, 1, 8, 8, dtype=torch.uint8)
    pictures[3:, 0, 0, 0], pictures[:, 0, 0, 1] = 255, torch.tensor([0, 1, 2, 0, 1, 2])
    labels = torch.tensor([[0, 0], [0, 0], [1, 2], [-1, 0], [1, -1], [-1, -1]])  # right: both, tone, side; side; tone
    seen = agreement(pictures, labels, network=Corners())
    share = Estimate.share
    assert seen.overall == share(3, 5)  # the last picture was asked for nothing
    assert seen.per_column == {"tone": share(3, 4), "side": share(3, 4)}
    assert seen.per_class["tone"] == {"dark": share(2, 2), "light": share(1, 2)}
    assert seen.per_class["side"] == {"left": share(2, 3), "right": share(1, 1)}


# --- nearest ---


@pytest.mark.parametrize("channels, size", [(1, (8, 8)), (3, (28, 20)), (3, (48, 64))])  # 4,096 at a time, and 1,820
def test_planted_copies_are_found(channels, size):
    training = PictureSet(noise(5000, channels, *size), torch.zeros(5000), columns=["noise"])  # more than one part
    where = torch.tensor([3, 4999, 17, 4096, 4095])
    drawn = torch.cat([training.pictures(where), noise(5, channels, *size, seed=1)])
    distances, index = nearest(drawn, training)
    assert torch.equal(index[:5], where) and (distances[:5] == 0).all() and (distances[5:] > 1).all()


@pytest.mark.parametrize("words, caught", [
    ((), "as it is"), ("flip", "as it is, mirrored"), (["shift=2"], "as it is, moved"),
    ("shift(pixels=2), flip, crop", "as it is, mirrored, moved, both"),
])  # fmt: skip
def test_copies_that_training_has_changed_are_found(words, caught):
    training = PictureSet(noise(3000, 3, 12, 10), torch.zeros(3000), columns=["noise"])
    where = torch.tensor([3, 2999, 17, 1500])
    x = to_float(training.pictures(where))
    moved = shift(x, generator(0, "moved"))
    for kind, copies in {"as it is": x, "mirrored": x.flip(-1), "moved": moved, "both": moved.flip(-1)}.items():
        distances, index = nearest(to_uint8(copies), training, augment=words)
        if kind in caught:
            assert (distances == 0).all() and torch.equal(index, where), kind
        else:
            assert (distances > 1).all(), kind


def test_nearest_is_the_nearest():
    training, drawn = noise(300, 1, 8, 8), noise(40, 1, 8, 8, seed=1)
    distances, index = nearest(drawn, PictureSet(training, torch.zeros(300), columns=["noise"]))
    pairs = torch.cdist(drawn.flatten(1).double(), training.flatten(1).double()) / 8  # root of the mean of 64 squares
    torch.testing.assert_close(distances.double(), pairs.amin(1), atol=1e-3, rtol=1e-5)
    assert torch.equal(index, pairs.argmin(1))
    one_more = (training[:1].int() + 1).clamp(max=255).to(torch.uint8)  # a grey level lighter
    training[:1] = one_more - 1
    shifted, _ = nearest(one_more, PictureSet(training, torch.zeros(300), columns=["noise"]))
    assert shifted.item() == pytest.approx(1, abs=1e-4)


# --- Inception ---


def test_inception_is_never_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *a, **k: pytest.fail("reached for the network"))
    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url",
                        lambda *a, **k: pytest.fail("reached for the network"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert inception() is None
    with pytest.raises(InputError, match=f"nowhere.pth is not there.*{INCEPTION_WEIGHTS}"):
        inception(tmp_path / "nowhere.pth")
    with pytest.raises(InputError, match="no network to look through"):
        fid(noise(30, 1, 8, 8), noise(30, 1, 8, 8), network=inception())


@pytest.mark.parametrize("content", ["junk", "empty", "other weights", "a pickle"])
def test_what_is_not_inception_is_refused(tmp_path, content):
    path, proof = tmp_path / "weights.pth", tmp_path / "was run"

    class Runs:
        def __reduce__(self):
            return Path.touch, (proof,)

    if content in ("junk", "empty"):
        path.write_bytes(b"junk" * (content == "junk"))
    else:
        torch.save({"weight": torch.zeros(3)} if content == "other weights" else Runs(), path)
    with pytest.raises(InputError, match="does not hold Inception's weights"):
        inception(path)
    assert not proof.exists()


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    "A file as the real one is, its weights drawn at random."
    from torch_fidelity import feature_extractor_inceptionv3 as theirs

    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(torch.nn.Module, "load_state_dict", lambda self, state, **k: None)
        patch.setattr(theirs, "load_state_dict_from_url", lambda *a, **k: {})
        network = theirs.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    path = tmp_path_factory.mktemp("hub") / "hub" / "checkpoints" / INCEPTION_WEIGHTS
    path.parent.mkdir(parents=True)
    torch.save(network.state_dict(), path)
    return path


def test_inception_is_torch_fidelitys_network(random_weights, monkeypatch):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    network = inception(random_weights)
    assert network.name.startswith("Inception with the weights ") and network.num_features == 2048
    grey = noise(2, 1, 28, 20)
    layers = ["2048", "logits_unbiased"]
    theirs = FeatureExtractorInceptionV3("x", layers, feature_extractor_weights_path=random_weights)
    for ours, other in zip(look(grey, network), theirs(grey.repeat(1, 3, 1, 1))):
        torch.testing.assert_close(ours, other.double(), atol=0, rtol=0)
    with pytest.raises(InputError, match="2048 features takes 20480 pictures"):
        fid(grey, grey, network=network)
    monkeypatch.setenv("TORCH_HOME", str(random_weights.parents[2]))  # where torch keeps downloaded files
    assert torch.equal(look(grey, inception())[0], look(grey, network)[0])


# --- all of it ---


@pytest.fixture(scope="session")
def scored(digits, judge):
    return score(digits.test.pictures(), digits.test.labels[:, 0], digits, network=judge)


def named(scores):
    return {f.name: f for f in scores.figures}


def test_a_model_that_gives_back_what_training_showed_it_is_no_original(digits, judge):
    mirrored, labels = digits.train.pictures().flip(-1), digits.train.labels[:, 0]
    for words, share in (((), 0), (["flip"], 1)):
        scores = score(mirrored, labels, digits, network=judge, augment=words)
        assert (named(scores)["nearer than 99 % of real"].drawn.value > 0.9) == share
        assert any("as flip showed them" in note for note in scores.notes) == bool(words)


def test_real_pictures_score_like_real_pictures(scored, digits, judge):
    figures = named(scored)
    assert "FID" not in figures
    assert "640 drawn pictures" in scored.notes[0] and f"there are {len(digits.test)};" in scored.notes[0]
    for figure in figures.values():
        assert figure.drawn == figure.real
        assert figure.network in (judge.name, "pixels")
    assert figures["KID"].drawn.n == len(digits.test) and figures["KID"].drawn.spread > 0
    assert figures["agreement"].drawn.low > 0.9
    assert {f"agreement: {c}" for c in digits.test.classes} < figures.keys()


def test_scores_can_be_kept_and_read(scored, digits):
    kept = json.loads(scored.to_json())
    assert kept["figures"][0] == {
        "name": "KID", "network": "FeatureNet-64", "better": "lower",
        **{k: {"value": e.value, "n": len(digits.test), "low": None, "high": None, "spread": e.spread}
           for k, e in (("drawn", scored.figures[0].drawn), ("real", scored.figures[0].real))},
    }
    assert len(kept["table"]) == len(kept["figures"]) and all(len(row) == len(kept["columns"]) for row in kept["table"])
    assert kept["notes"] == scored.notes
    words = "KID", "Inception Score", "agreement: 3", str(len(digits.test)), "FeatureNet-64", *scored.notes
    assert all(word in scored.text() for word in words)


def test_fid_is_scored_where_there_are_enough(digits, judge):
    split = Data("digits", digits.train.subset(range(800)), digits.train.subset(range(800, 1600)), ((8, 8),) * 2, {})
    drawn = digits.train.pictures(range(700))  # copies
    scores = score(drawn, digits.train.labels[:700, 0], split, network=judge)
    figures = named(scores)
    distance, copied = figures["FID"], figures["nearer than 99 % of real"]
    assert distance.drawn.n == distance.real.n == 700 and distance.drawn.value < distance.real.value
    assert copied.drawn.value == 1 and copied.real.value < 0.03
    assert figures["distance to training (grey levels)"].drawn.value == 0
    assert figures["agreement"].real.n == 800  # all that are held out
    assert scores.to_json() == score(drawn, digits.train.labels[:700, 0], split, network=judge).to_json()


def test_spoiled_pictures_score_worse(scored, digits, judge):
    clean = to_float(digits.test.pictures())
    spoiled = to_uint8(clean + torch.randn(clean.shape, generator=generator("spoil")))
    ours, real = named(score(spoiled, digits.test.labels[:, 0], digits, network=judge)), named(scored)
    assert ours["KID"].drawn.value > ours["KID"].real.value + 3 * ours["KID"].real.spread
    assert ours["Inception Score"].drawn.value < ours["Inception Score"].real.value
    assert ours["agreement"].drawn.high < ours["agreement"].real.low
    assert ours["KID"].real == real["KID"].real


def test_another_network_leaves_agreement_to_the_judge(digits, judge, monkeypatch):
    monkeypatch.setattr(metrics, "train_judge", lambda pictures: judge)
    other = Brightness()  # in Inception's place: it knows nothing of digits
    scores = score(digits.test.pictures(), digits.test.labels, digits, network=other)
    through = {f.name.split(":")[0]: f.network for f in scores.figures}
    assert through["FID"] == through["KID"] == through["Inception Score"] == other.name
    assert through["agreement"] == judge.name and named(scores)["agreement"].drawn.low > 0.9
    assert not scores.notes


def test_few_pictures_are_scored_as_far_as_they_go(digits, judge):
    little = Data("digits", digits.train, digits.test.subset(range(12)), ((8, 8),) * 2, {})
    scores = score(digits.test.pictures(range(30)), digits.test.labels[:30, 0], little, network=judge)
    found = {f.name.split(":")[0] for f in scores.figures}
    assert found == {"agreement", "distance to training (grey levels)", "nearer than 99 % of real"}
    assert "takes 20 held-out pictures, not 12" in scores.notes[0]
    with pytest.raises(InputError, match="at least 20 pictures, and there are 19"):
        score(digits.test.pictures(range(19)), digits.test.labels[:19, 0], digits, network=judge)
    with pytest.raises(InputError, match="are 3x8x8 and those of digits 1x8x8"):
        score(noise(30, 3, 8, 8), torch.zeros(30), digits, network=judge)
