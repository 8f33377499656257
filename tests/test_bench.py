"""What `make bench` must keep to be fair and to go on after an interruption; no peer is needed and nothing is timed."""

import itertools, sys

import pytest
import torch
from refresh import ROOT

sys.path.insert(0, str(ROOT / "bench"))
import peers  # noqa: E402
from systems import SYSTEMS, Peer  # noqa: E402

from classypics.data import PictureSet  # noqa: E402


def found(value, real=0.1, **more):
    "A result as `score` leaves it."
    estimate = lambda v: {"value": v, "n": 640, "low": v - 0.01, "high": v + 0.01, "spread": 0.001}
    scores = {f"{name} {whose}": estimate(v) for name, v in (("FID", value), ("KID", 0.2), ("agreement", 0.9))
              for whose, v in (("drawn", v), ("real", real))}  # fmt: skip
    facts = dict(system="x", seen=1000, n=640, parameters=10**6, memory=900.0, seconds_a_picture=0.1, evaluations=24)
    facts |= {"how": "somehow", "trained": "so", "seconds": 60.0, "wall": 61.0, "machine": "m", "date": "d"}
    return facts | scores | {"FID deviation": 0.05} | more


def test_systems_take_turns():
    turns, order = {"a": 0, "b": 0, "c": 0}, []
    while name := peers.next_turn(turns, most=2):
        order.append(name)
        turns[name] += 1
    assert order == list("abcabc")
    assert peers.next_turn({"a": 2, "b": 1, "c": 1}) == "b"


def test_any_first_part_of_the_labels_is_in_proportion():
    labels = torch.tensor([[0]] * 600 + [[1]] * 300 + [[2]] * 100)[torch.randperm(1000)]
    for n in (10, 64, 640, 1000):
        share = torch.bincount(peers.spread_labels(labels, n)[:, 0], minlength=3)
        assert (share - torch.tensor([0.6, 0.3, 0.1]) * n).abs().max() <= 1


class Stopped(Exception):
    pass


@pytest.fixture
def stages(monkeypatch, tmp_path):
    "The stages that `compare` starts, without their work; the `n`-th is stopped where `stop(n)` says so."
    monkeypatch.setenv("CLASSYPICS_OUTPUTS", str(tmp_path))
    started, stops = [], []

    def child(stage, system, data, minutes, **options):
        started.append((stage, system, options.get("turn")))
        if len(started) in stops:
            raise Stopped
        if stage == "score":
            peers.write(peers.run_folder(data, minutes) / system / "result.json", found(1.0, asked=options))

    monkeypatch.setattr(peers, "child", child)
    return started, stops


def test_what_is_finished_is_not_done_again(stages):
    started, stops = stages
    call = lambda systems: peers.compare("digits", 1.0, systems, pictures=64, makers=0)
    stops += [4, 9]
    for _ in stops:
        with pytest.raises(Stopped):
            call(["trial", "diffusers"])
    assert call(["trial", "diffusers"])["trial"]["FID drawn"]["value"] == 1.0
    learned = [(system, turn) for stage, system, turn in started if stage == "learn"]
    twice = [("trial", 2), ("diffusers", 3)]  # those that were stopped
    assert sorted(learned) == sorted([*itertools.product(("trial", "diffusers"), (1, 2, 3, 4)), *twice])
    n = len(started)
    call(["trial", "diffusers"])
    assert len(started) == n
    call(["smalldiffusion"])
    assert {system for _, system, _ in started[n:]} == {"judge", "smalldiffusion"}


class Toy(Peer):
    "One weight, pushed up by one a step."

    batch = 4

    def build(self):
        self.net = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(self.net.weight)
        self.parts = {"average": self.net}

    def step(self):
        if self.steps == self.stop:
            raise KeyboardInterrupt
        with torch.no_grad():
            self.net.weight += 1


def test_a_peer_goes_on_where_it_was_and_spends_its_seconds(tmp_path, monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr("systems.time.perf_counter", lambda: next(ticks) / 2)  # every step takes half a second
    pictures = PictureSet(torch.zeros(8, 1, 8, 8, dtype=torch.uint8), torch.zeros(8, 1, dtype=torch.int64),
                          columns={"class": ("a",)})  # fmt: skip
    data = type("Data", (), {"train": pictures, "name": "zeros"})

    def learn(until, stop=None):
        toy = Toy("zeros", data, tmp_path, 0.1)
        toy.stop = stop
        try:
            toy.learn(until)
        except KeyboardInterrupt:
            pass
        assert toy.net.weight.item() == toy.steps == 2 * toy.seconds == toy.seen / 4
        return toy.seconds

    assert [learn(2.0), learn(2.0), learn(4.0, stop=6), learn(4.0), learn(float("inf"))] == [2.0, 2.0, 3.0, 4.0, 6.0]


def test_the_table_says_how_far_each_is_above_real():
    results = {"classypics": found(0.4), "diffusers": found(3.1), "smalldiffusion": found(6.1), "trial": found(0.2)}
    lines = peers.table(results).splitlines()
    assert "3.1 ± 0.098 (real 0.1) | 3 | 10 |" in lines[3]
    assert lines[2].count("|") == lines[0].count("|") == lines[1].count("|")
    assert peers.best_peer(results) == "diffusers"
    few = {k: v for k, v in found(1.0).items() if not k.startswith("FID")}  # too few drawn for FID
    assert peers.best_peer({"classypics": few}) is None and "| 640 |  |  |  |" in peers.table({"classypics": few})


def test_the_trial_is_pinned():
    "Whatever a later `plan` chooses, the trial stays what it was."
    from dataclasses import fields

    from classypics.recipe import Recipe

    asked = {"data", "out", "minutes", "steps", "size", "channels", "image_column", "label_columns"}  # of everybody
    free = {"latent", "codes", "codec_widths", "codec_share", "perceptual", "adversarial", "strict", "start_from"}
    assert {f.name for f in fields(Recipe)} - SYSTEMS["trial"].pinned.keys() == asked | free
