"The panel without a browser: what it does, what it survives, what it says to a mistake."

import csv
import errno
import html
import io
import itertools
import json
import os
import re
import shutil
import threading
import time
import zipfile
from dataclasses import replace

import pytest
from ipywidgets.widgets.widget import _instances
from PIL import Image
from refresh import NBS, read, source

from classypics import panel as panels
from classypics.data import load_data
from classypics.panel import PAGE, Panel, Picture, Settings, Studio, Training, Worker, draw, sentence, serve, zipped
from classypics.pipeline import Pipeline, shipped

FASHION = "fashion-mnist"


@pytest.fixture(scope="module")
def pipe():
    return Pipeline.from_pretrained(FASHION, device="cpu")


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLASSYPICS_OUTPUTS", "outputs")
    return tmp_path / "outputs"


def opened(model=FASHION) -> Panel:
    panel = Panel(model)
    panel.studio.worker.wait()
    panel.controls.count.value = 2
    return panel


def said(panel) -> str:
    return html.unescape(re.sub("<.*?>", "", panel.said.value))


def finish(panel):
    panel.studio.worker.wait()
    panel.studio.reader.wait()


def choose(panel, name):
    next(iter(panel.controls.choices.values())).widget.value = name


def renamed(pipe, folder, classes, columns=None):
    "A model with other class names in `folder`."
    config = pipe.config | {"classes": columns or {"class": classes}}
    config["conditioner"] = {"type": "ClassLabels", "args": {"classes": classes}}
    Pipeline(config).save_pretrained(folder)


# --- drawing ---


def test_the_same_settings_give_the_same_picture(pipe):
    panel = opened()
    choose(panel, "Bag")
    panel.controls.seed.value = 41
    panel.generate()
    finish(panel)
    panel.generate()
    finish(panel)
    first, second = panel.studio.history
    assert [p.png for p in first.pictures] == [p.png for p in second.pictures]
    scope = {}
    exec(first.pictures[1].settings.code, scope)
    ours, theirs = Image.open(io.BytesIO(first.pictures[1].png)), scope["drawn"].images[0]
    assert max(abs(a - b) for a, b in zip(ours.tobytes(), theirs.tobytes())) <= 1
    assert json.loads(ours.text["classypics"]) == first.pictures[1].facts
    assert first.pictures[1].facts["seed"] == 42 and first.pictures[1].facts["class"] == "Bag"


def test_many_clicks_start_one_drawing():
    panel = opened()
    panel.controls.count.value = 32
    for _ in range(20):
        panel.controls.generate.click()
    finish(panel)
    assert [len(d.pictures) for d in panel.studio.history] == [32]


def test_clicks_from_many_threads_start_one_job():
    worker, ran = Worker(), []
    job = lambda stopped: (ran.append(1), time.sleep(0.05))
    clicks = [threading.Thread(target=worker.start, args=("a", job)) for _ in range(50)]
    for click in clicks:
        click.start()
    for click in clicks:
        click.join()
    worker.wait()
    assert ran == [1] and not worker.doing


def test_a_worker_keeps_one_thread_and_survives_mistakes(caplog):
    threads, begun = set(), []

    def idle():
        if not begun:
            begun.append(worker.start("more", lambda stopped: threads.add(threading.current_thread())))
        raise KeyError("in idle")

    worker = Worker(idle)
    for _ in range(20):
        assert worker.start("a", lambda stopped: (threads.add(threading.current_thread()), 1 / 0))
        worker.wait()
    assert len(threads) == 1 and begun == [True] and not worker.doing
    assert sum(r.exc_info[0] is ZeroDivisionError for r in caplog.records) == 20


def test_a_stop_before_the_job_has_begun_is_heard():
    worker, heard, begins = Worker(), [], threading.Event()
    worker.start("a", lambda stopped: heard.append(begins.wait(10) and stopped()))
    worker.stop()
    begins.set()
    worker.wait()
    assert heard == [True] and not worker.doing
    for _ in range(200):  # whether it has begun by then or not
        worker.start("a", lambda stopped: heard.append(_until(stopped)))
        worker.stop()
        worker.wait()
    assert all(heard) and len(heard) == 201


def _until(true, seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.001)
    return true()


def test_cancel_keeps_what_is_finished_and_the_controls_come_back():
    panel = opened()
    panel.controls.count.value = 48
    looks, hear = [], panel.studio.tell

    def tell(word, *facts):
        hear(word, *facts)
        if word == "drawing" and len(facts[0].drawing.pictures) == 16:
            assert not panel.controls.cancel.disabled and panel.controls.generate.description != "Generate"
            looks.append(facts[0].done)
            panel.controls.cancel.click()

    panel.studio.tell = tell
    panel.generate()
    finish(panel)
    (drawing,) = panel.studio.history
    assert len(looks) == 1 and len(drawing.pictures) == 16 and said(panel).startswith("Cancelled: 16 of 48")
    assert panel.controls.cancel.disabled and panel.controls.generate.description == "Generate"
    panel.studio.tell = hear
    panel.controls.count.value = 1
    panel.generate()
    finish(panel)
    assert len(panel.studio.history) == 2 and panel.gallery.value.count("<img") == 1


def test_a_finished_picture_can_be_seen_while_others_are_drawn():
    panel = opened()
    panel.controls.count.value = 48
    hear, seen, sent = panel.studio.tell, [], []
    panel.gallery.observe(lambda change: sent.append(change.new.count("<img")), "value")

    def tell(word, *facts):
        hear(word, *facts)
        if word == "drawing" and len(facts[0].drawing.pictures) == 16 and not seen:
            panel.pick.value = f"{facts[0].drawing.number}.7"
            seen.append(panel.viewer.picture)

    panel.studio.tell = tell
    panel.generate()
    finish(panel)
    (drawing,) = panel.studio.history
    assert seen == [drawing.pictures[7]] and len(drawing.pictures) == 48
    assert len(panel.viewer.frames) == 12  # the film followed the drawing
    assert sent == sorted(set(sent)) and sent[:2] == [0, 16] and sent[-1] == 48  # sent once: it stays under a finger


def test_live_draws_the_last_that_was_chosen():
    panel = opened()
    panel.controls.live.value = True
    for name in ("Trouser", "Dress", "Coat", "Sneaker"):
        choose(panel, name)
    finish(panel)
    assert panel.studio.history[-1].pictures[0].label == "Sneaker" and not panel.studio.worker.doing


def test_showing_takes_no_tenth_of_a_drawing(pipe, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(panels.time, "perf_counter", lambda: clock[0])

    class Slow:
        def stream(self, *names, **options):
            for frame in pipe.stream(*names, **options):
                clock[0] += 0.005  # a step takes 5 ms
                yield frame

    def tell(progress):
        looks.append(clock[0])
        clock[0] += cost

    for cost in (0.0, 0.001, 0.02):  # showing takes up to four times as long as a step
        looks = []
        clock[0] = 0.0
        drawing = draw(Slow(), Settings("", ("Sneaker",), 1, 200, 1.5, "ddim", 0), tell, lambda: False)
        assert drawing.seconds == pytest.approx(clock[0]) and len(looks) > 4
        assert drawing.shown <= 0.1 * drawing.seconds + cost
        assert min(b - a for a, b in zip(looks[1:], looks[2:])) >= 0.05 - 1e-9


def test_the_pictures_of_a_batch_know_their_class(pipe):
    settings = Settings("", ("Sneaker", None, "Bag"), 7, 2, 1.0, "euler", 5)
    pictures = draw(pipe, settings, lambda p: None, lambda: False).pictures
    assert [p.settings.asked[0] for p in pictures] == ["Sneaker"] * 7 + [None] * 7 + ["Bag"] * 7
    assert [p.label for p in pictures] == ["Sneaker"] * 7 + ["any"] * 7 + ["Bag"] * 7
    assert [p.settings.seed for p in pictures] == [*range(5, 12)] * 3


def test_hundreds_of_drawings_leave_no_trace(pipe):
    panel = Panel(pipe)
    panel.controls.count.value, panel.controls.steps.value = 1, 1
    before, threads = len(_instances), threading.active_count()
    for k in range(60):
        panel.generate()
        if k % 5 == 0:
            panel.controls.cancel.click()
        panel.studio.worker.wait()
        assert panel.controls.cancel.disabled and panel.controls.generate.description == "Generate"
    assert len(_instances) == before and threading.active_count() <= threads
    assert 48 <= len(panel.studio.history) <= 60 and all(d.pictures for d in panel.studio.history)


def test_what_is_kept_has_an_end(pipe, monkeypatch):
    panel = Panel(pipe)
    panel.controls.count.value, panel.controls.steps.value = 2, 1
    for _ in range(4):
        panel.generate()
        finish(panel)
        one = sum(len(p.png) for p in panel.studio.history[0].pictures)
        monkeypatch.setattr(panels, "MOST_KEPT", 2 * one)  # the same settings give the same bytes
    assert [d.number for d in panel.studio.history] == [3, 4] and len(panel.history.options) == 2
    panel.pick.value = "1.0"
    assert "forgotten" in said(panel)


# --- one picture ---


def test_a_click_shows_film_neighbour_and_code():
    panel = opened()
    panel.generate()
    finish(panel)
    panel.pick.value = "1.1"
    finish(panel)
    assert panel.viewer.look.value.count("<img") == 12 and 'type="range"' in panel.viewer.look.value
    assert "pipe(" in panel.viewer.code.value and "seed=1" in panel.viewer.code.value
    assert "Is it a copy?" in panel.viewer.near.value
    panel.viewer.save_gif.click()
    assert 'download="T-shirt%2Ftop-1.gif"' in panel.download.value
    first = panel.download.value
    panel.viewer.save_gif.click()
    assert panel.download.value != first  # the same again is a new message, and so a new download


def test_more_like_this_takes_the_next_seeds():
    panel = opened()
    choose(panel, "Coat")
    panel.generate()
    finish(panel)
    panel.pick.value = "1.0"
    finish(panel)
    choose(panel, "Bag")
    panel.viewer.alike.click()
    finish(panel)
    assert [(p.label, p.settings.seed) for p in panel.studio.history[-1].pictures] == [("Coat", 2), ("Coat", 3)]
    assert panel.controls.seed.value == 2
    panel.pick.value = "1.1"
    finish(panel)
    panel.viewer.alike.click()
    finish(panel)
    assert [p.settings.seed for p in panel.studio.history[-1].pictures] == [4, 5]  # 2 and 3 have been seen


def test_more_like_this_after_the_largest_seed():
    panel = opened()
    panel.controls.seed.value = panels.MOST_SEED
    panel.generate()
    finish(panel)
    panel.pick.value = "1.0"
    finish(panel)
    for _ in range(2):
        panel.viewer.alike.click()
        finish(panel)
    drawn = [{p.settings.seed for p in d.pictures} for d in panel.studio.history]
    assert len(drawn) == 3 and not drawn[1] & drawn[2]  # the second press shows other pictures than the first


def trained_anew(pipe, folder):
    "Put an untrained net of the same kind into `folder`, with files that are a minute newer."
    Pipeline(pipe.config, device="cpu").save_pretrained(folder)
    later = time.time() + 60
    os.utime(folder / "model.safetensors", (later, later))


def test_a_film_of_another_model_is_none(pipe, outputs):
    shutil.copytree(shipped()[FASHION], outputs / "run")
    panel = opened("outputs/run")
    panel.generate()
    finish(panel)
    trained_anew(pipe, outputs / "run")
    panel.studio.open("outputs/run")
    finish(panel)
    panel.pick.value = "1.0"
    finish(panel)
    assert panel.viewer.frames == [] and "trained anew since this picture was drawn" in said(panel)
    panel.viewer.save_gif.click()
    assert "this picture has no film" in said(panel)


def test_who_comes_late_finds_the_models_of_now(pipe, outputs):
    panel = opened(None)
    panel.controls.model.value = "cifar10"
    finish(panel)
    renamed(pipe, outputs / "new", ["a", "b"])
    panel.widget._view_count = 1  # a browser shows it
    finish(panel)
    assert list(panel.controls.model.options) == [*shipped(), "outputs/new"]
    assert panel.controls.model.value == panel.model == "cifar10"
    assert panel.studio.pipelines.keys() == {FASHION, "cifar10"}  # nothing was opened for it
    panel.controls.model.value = "outputs/new"
    finish(panel)
    before = panel.studio.pipelines["outputs/new"]
    panel.widget._view_count = 2
    finish(panel)
    assert panel.studio.pipelines["outputs/new"] is before
    trained_anew(pipe, outputs / "new")
    panel.widget._view_count = 3
    finish(panel)
    assert panel.studio.pipelines["outputs/new"] is not before
    shutil.rmtree(outputs / "new")
    panel.widget._view_count = 4
    panel.generate()
    finish(panel)
    assert len(panel.studio.history[-1].pictures) == 2 and "Problem" not in said(panel)


def test_history_shows_an_earlier_drawing():
    panel = opened()
    for name in ("Coat", "Bag"):
        choose(panel, name)
        panel.generate()
        finish(panel)
    assert "Bag" in panel.gallery.value and "Coat" not in panel.gallery.value
    panel.history.index = 1
    assert "Coat" in panel.gallery.value and "Bag" not in panel.gallery.value


def test_the_neighbour_of_a_training_picture_is_itself(outputs):
    from classypics.core import to_pil
    from classypics.recipe import Recipe, train

    train(Recipe("digits", out="outputs/digits", steps=20, widths=[8, 16]), progress=False)
    panel = opened("outputs/digits")
    settings = Settings("outputs/digits", ("3",), 1, 12, 1.5, "dpmpp_2m", 0)
    data = load_data("digits")
    told = []
    panel.studio.tell = lambda word, *facts: told.append(facts)
    for pictures in (data.train, data.test):
        panel.studio.compare(Picture.of(to_pil(pictures.pictures([9])[0]), "3", settings))
        panel.studio.reader.wait()
    (copied, one), (_, other) = told
    assert one.distance == 0 and "may be a copy" in one.verdict
    assert Image.open(io.BytesIO(one.png)).tobytes() == Image.open(io.BytesIO(copied.png)).tobytes()
    (training,) = panel.studio.training.values()
    assert other.distance > 0 and 0 < training.close < training.usual


def test_what_is_near_is_measured_on_all_classes(outputs):
    from classypics.recipe import Recipe, train

    for part, n in (("train", 20), ("test", 210)):
        for name in ("asphalt", "sky"):  # noise, like nothing else, and one grey, of which there are others
            (at := outputs / "made" / part / name).mkdir(parents=True)
            for k in range(n):
                sky = Image.new("L", (8, 8), 10 * (k % 20) + (part == "test"))
                (sky if name == "sky" else Image.frombytes("L", (8, 8), os.urandom(64))).save(at / f"{k}.png")
    train(Recipe(f"folder:{outputs / 'made'}", out="outputs/run", steps=1, widths=[8]), progress=False)
    assert Training("outputs/run").close == pytest.approx(1)  # half of what is held out is sky, a grey level away


@pytest.mark.parametrize("change, why", [
    (lambda folder: (folder / "recipe.yaml").unlink(), "does not say which pictures"),
    (lambda folder: (folder / "recipe.yaml").write_text("data: folder:gone\n"), "gone"),
    (lambda folder: (folder / "recipe.yaml").write_text("data: cifar10\n"), "not on this computer"),
    (lambda folder: (folder / "recipe.yaml").write_text("data: digits\n"), "have changed"),
])  # fmt: skip
def test_without_the_training_pictures_it_is_said_why(outputs, monkeypatch, change, why):
    monkeypatch.delenv("CLASSYPICS_DATA", raising=False)
    shutil.copytree(shipped()[FASHION], outputs / "model")
    change(outputs / "model")
    panel = opened("outputs/model")
    panel.generate()
    finish(panel)
    panel.pick.value = "1.0"
    finish(panel)
    assert "Cannot be told" in panel.viewer.near.value and why in panel.viewer.near.value
    assert not (outputs.parent / "data").exists()  # nothing was downloaded


# --- many models, many classes, odd names ---


def test_models_are_chosen_and_a_broken_one_is_named(pipe, outputs):
    renamed(pipe, outputs / "many", [f"kind {k}" for k in range(40)])
    shutil.copytree(outputs / "many", outputs / "broken")
    (outputs / "broken" / "model.safetensors").write_bytes(b"no model")
    panel = opened(None)
    assert list(panel.controls.model.options) == [*shipped(), "outputs/broken", "outputs/many"]
    panel.controls.model.value = "outputs/broken"
    finish(panel)
    assert "outputs/broken cannot be opened" in said(panel) and "others can still be chosen" in said(panel)
    assert panel.controls.model.value == panel.model == FASHION  # the box names the one that draws
    panel.generate()
    finish(panel)
    assert len(panel.studio.history[-1].pictures) == 2  # the one before is still there
    panel.controls.model.value = "outputs/many"
    finish(panel)
    choose(panel, "kind 33")
    panel.generate()
    finish(panel)
    assert panel.studio.history[-1].pictures[0].label == "kind 33"
    shutil.rmtree(outputs / "many")
    panel.generate()  # it is in memory
    finish(panel)
    assert len(panel.studio.history) == 3
    panel.controls.model.value = FASHION
    finish(panel)
    panel.controls.model.value = "outputs/many"
    finish(panel)
    assert "outputs/many cannot be opened" in said(panel)


def test_a_broken_first_model_gives_way_to_the_next(pipe, outputs, monkeypatch):
    renamed(pipe, outputs / "good", ["a", "b"])
    shutil.copytree(outputs / "good", outputs / "bad")
    (outputs / "bad" / "config.json").write_text("{")
    monkeypatch.setattr(panels, "models", lambda: {"outputs/bad": 0, "outputs/good": 0})
    panel = opened(None)
    assert panel.model == "outputs/good" and list(panel.controls.choices) == ["class"]
    assert said(panel).startswith("Problem: outputs/bad cannot be opened") and "outputs/good draws" in said(panel)


def test_no_models_at_all(outputs, monkeypatch):
    monkeypatch.setattr(panels, "models", dict)
    panel = Panel()
    assert "classypics train --data digits" in said(panel)
    panel.controls.generate.click()
    assert "no model" in said(panel)


def test_generate_while_a_model_loads_waits_for_it():
    panel = Panel(FASHION)
    panel.controls.generate.click()
    finish(panel)
    assert len(panel.studio.history) == 1


def test_what_is_wrong_when_a_waiting_drawing_could_begin_is_said(pipe, outputs):
    renamed(pipe, outputs / "many", [f"kind {k}" for k in range(40)])
    panel = opened("outputs/many")
    choose(panel, "knid 3")
    panel.controls.model.options = ["outputs/many", FASHION]
    panel.studio.open("outputs/many")
    panel.controls.generate.click()  # while it loads
    finish(panel)
    assert "did you mean 'kind 3'" in said(panel) and not panel.studio.history
    choose(panel, "kind 3")
    panel.generate()
    finish(panel)
    assert len(panel.studio.history) == 1


def test_attributes_are_several_selectors():
    class Attributes:
        columns = {"color": ("red", "blue"), "shape": ("square", "disc")}
        config = {"defaults": Pipeline.from_pretrained(FASHION).config["defaults"]}

        class schedule:
            most_steps = 10

    controls = panels.Controls([])
    controls.fit(Attributes, lambda change: None)
    color, shape = (c.widget for c in controls.choices.values())
    assert list(color.options) == ["any", "red", "blue", "one of each"]
    asked = {}
    for color.value, shape.value in (("any", "any"), ("red", "any"), ("red", "disc"), ("one of each", "disc")):
        asked[color.value, shape.value] = controls.settings("m").asked
    assert asked["any", "any"] == (None,) and asked["red", "any"] == ({"color": "red"},)
    assert asked["red", "disc"] == ({"color": "red", "shape": "disc"},)
    assert asked["one of each", "disc"] == tuple({"color": c, "shape": "disc"} for c in ("red", "blue"))
    assert replace(controls.settings("m"), seed=3).code.count("{'color': 'red', 'shape': 'disc'}") == 1


ODD = ['"quoted"', "<script>alert(1)</script>", "../up", "a/b", ".hidden", "con\\aux", "любовь", "one of each",
       "x" * 300]


def test_odd_class_names_are_text_and_safe_as_files(pipe, outputs):
    renamed(pipe, outputs / "odd", ODD)
    panel = opened("outputs/odd")
    choose(panel, "(one of each)")
    panel.generate()
    finish(panel)
    pictures = panel.studio.history[-1].pictures
    assert [p.label for p in pictures] == ODD
    panel.pick.value = "1.1"
    finish(panel)
    seen = panel.gallery.value + panel.viewer.look.value + panel.viewer.code.value
    assert "<script>" not in seen and "&lt;script&gt;" in seen
    (outputs / "all.zip").write_bytes(zipped(pictures))
    with zipfile.ZipFile(outputs / "all.zip") as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("manifest.csv").decode())))
        assert [r["class"] for r in rows] == ODD and {r["file"] for r in rows} < set(archive.namelist())
        for name in archive.namelist():
            assert not re.search(r'[<>:"\\|?*]|^[./]|\.\./', name) and all(len(p) < 200 for p in name.split("/"))


def test_a_zip_can_be_learned_from(pipe, tmp_path):
    settings = Settings("", ("T-shirt/top", "Bag"), 4, 2, 1.5, "euler", 0)
    archive = zipped(draw(pipe, settings, lambda p: None, lambda: False).pictures)
    zipfile.ZipFile(io.BytesIO(archive)).extractall(tmp_path)
    data = load_data(f"csv:{tmp_path}/manifest.csv", label_columns="class")
    assert set(data.train.classes) == {"T-shirt/top", "Bag"} and len(data.train) + len(data.test) == 8


# --- mistakes, and what is said to them ---


def test_a_later_batch_that_fails_leaves_the_pictures_before(pipe, monkeypatch):
    class Short:
        "A pipeline on which the memory runs out in the second batch."
        def stream(self, *names, **options):
            for k, frame in enumerate(pipe.stream(*names, **options)):
                if k == 3:
                    raise MemoryError
                yield frame
        def __getattr__(self, name): return getattr(pipe, name)  # noqa: E704

    panel = Panel(pipe)
    panel.studio.pipelines[""] = Short()
    panel.controls.count.value, panel.controls.steps.value = 40, 2
    panel.generate()
    finish(panel)
    assert said(panel).startswith("Problem: after 16 of 40 pictures: there is not enough memory")
    (drawing,) = panel.studio.history
    assert len(drawing.pictures) == 16 and panel.gallery.value.count("<img") == 16
    assert panel.controls.cancel.disabled and "Save all 16" in panel.save_zip.description


def test_a_film_that_fails_takes_no_other_with_it(pipe):
    panel = opened()
    panel.generate()
    finish(panel)
    panel.pick.value = "1.0"
    finish(panel)
    (one, other), frames = panel.studio.history[0].pictures, panel.viewer.frames
    panel._hear("failed", "filming", other, "there is not enough memory")
    assert panel.viewer.picture is one and panel.viewer.frames is frames and "film cannot be drawn" in said(panel)
    panel.viewer.frames = None
    panel._hear("failed", "filming", one, "there is not enough memory")
    assert panel.viewer.frames == []  # and it is not tried again


def test_a_model_may_want_more_guidance_than_people_do(pipe):
    guided = with_defaults(pipe, guidance_scale=30.0)
    assert Panel(guided).controls.guidance.value == 30


def with_defaults(pipe, **defaults) -> Pipeline:
    "The same model with other defaults."
    other = Pipeline(pipe.config | {"defaults": pipe.config["defaults"] | defaults}, device="cpu")
    other.denoiser.load_state_dict(pipe.denoiser.state_dict())
    return other


def test_out_of_range_is_limited_by_the_controls():
    c = opened().controls
    for control, value, limited in ((c.count, 10**9, 64), (c.count, 0, 1), (c.seed, -1, 0), (c.seed, 2**40, 2**31 - 1),
                                    (c.steps, 10**6, 250), (c.guidance, -2, 0), (c.guidance, 1e9, 20)):  # fmt: skip
        control.value = value
        assert control.value == limited


@pytest.mark.parametrize("error, words", [
    (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
    (PermissionError(errno.EACCES, "Permission denied", "x.png"), "x.png cannot be used"),
    (MemoryError(), "not enough memory"),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried"), "draw fewer pictures"),
    (KeyError("oops"), "a mistake in classypics, KeyError"),
])  # fmt: skip
def test_what_goes_wrong_is_a_sentence(error, words, monkeypatch):
    assert words in sentence(error) and "\n" not in sentence(error)
    panel = opened()
    panel.generate()
    finish(panel)

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(panels, "zipped", fail)  # in a click
    panel.save_zip.click()
    assert words in said(panel) and said(panel).startswith("Problem")
    monkeypatch.setattr(panels, "draw", fail)  # in the thread
    panel.generate()
    finish(panel)
    assert words in said(panel) and panel.controls.cancel.disabled and "<img" in panel.gallery.value
    monkeypatch.undo()
    panel.generate()
    finish(panel)
    assert len(panel.studio.history) == 2


def test_an_unknown_class_in_the_search_box_is_said(pipe, outputs):
    renamed(pipe, outputs / "many", [f"kind {k}" for k in range(40)])
    panel = opened("outputs/many")
    choose(panel, "knid 3")
    panel.controls.generate.click()
    assert "unknown class 'knid 3'; did you mean 'kind 3'" in said(panel)


def test_a_wrong_model_is_said_in_the_panel(outputs):
    assert "unknown model 'fashion-mnits'; did you mean 'fashion-mnist'?" in said(opened("fashion-mnits"))


# --- the page ---


def test_the_page_is_nothing_but_the_panel():
    (cell,) = read(NBS / "app.ipynb")["cells"]
    assert source(cell) == PAGE


def test_the_page_does_as_the_environment_says(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    asked = {"model": FASHION, "folder": str(tmp_path / "elsewhere"), "ready": str(tmp_path / "ready")}
    monkeypatch.setenv("CLASSYPICS_PANEL", json.dumps(asked))
    panel = panels.page()
    assert panel.model == FASHION and (tmp_path / "ready").exists()
    assert panels.Path.cwd() == tmp_path / "elsewhere" and len(panel.controls.rows) == 3  # nothing to choose from


def test_the_template_asks_nobody_outside():
    template = panels.Path(panels.__file__).parent / "page/voila/templates/classypics/index.html.j2"
    assert "http" not in template.read_text() and "super()" in template.read_text()


@pytest.mark.parametrize("options, words", [
    ({"port": 0}, "from 1 to 65535"),
    ({"ip": "192.0.2.7"}, "no address of this computer"),
    ({"model": "fashion-mnits"}, "did you mean 'fashion-mnist'"),
])  # fmt: skip
def test_what_cannot_be_served_is_said_at_once(options, words):
    with pytest.raises(panels.InputError, match=words):
        serve(**options)


def test_a_taken_port_is_said_at_once():
    with panels.socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(panels.InputError, match=f"port {port} is taken.*--port {port + 1}"):
            serve(port=port)


@pytest.mark.parametrize("ip, alone", [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)])
def test_the_address_holds_a_secret_and_others_are_warned_of(ip, alone, monkeypatch, capsys):
    asked = {}

    class Voila:
        returncode = None

        def __init__(self, ip, port, folder, page, token):
            asked.update(page, token=token)
            (folder / "ready").touch()

        def poll(self): ...
        def terminate(self): ...
        def wait(self): return 0

    monkeypatch.setattr(panels, "_voila", Voila)
    monkeypatch.setattr(panels, "find_model", lambda model: None)
    with panels.socket.socket() as probe:
        probe.bind((ip, 0))
        port = probe.getsockname()[1]
    serve("m", port=port, ip=ip, browser=False)
    printed = capsys.readouterr().out
    assert f":{port}/?token={asked['token']} " in printed and len(asked["token"]) > 20
    assert ("warning" in printed) != alone and asked["model"] == "m"


def test_all_addresses_are_told_as_one_that_others_can_open(monkeypatch):
    assert panels._own_address("192.0.2.7") == "192.0.2.7"
    for every in ("0.0.0.0", "::"):
        assert panels._own_address(every) not in ("0.0.0.0", "::", "")

    def nowhere(*kind):
        raise OSError("no network")

    monkeypatch.setattr(panels.socket, "socket", nowhere)
    assert panels._own_address("0.0.0.0") == panels.socket.gethostname()


def test_a_slow_computer_is_waited_for(monkeypatch, capsys):
    class Voila:
        asked = 0

        def __init__(self, ip, port, folder, page, token):
            self.folder = folder

        def poll(self):
            self.asked += 1
            if self.asked == 200:
                (self.folder / "ready").touch()

        def terminate(self): ...
        def wait(self): return 0

    clock = itertools.count(step=10)
    monkeypatch.setattr(panels, "_voila", Voila)
    monkeypatch.setattr(panels.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(panels.time, "sleep", lambda seconds: None)
    with panels.socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve("fashion-mnist", port=port, browser=False)  # after half an hour by that clock
    said = capsys.readouterr()
    assert said.err.count("still starting") == 1 and "the panel is at" in said.out


def test_a_script_can_use_the_studio(pipe):
    told = []
    studio = Studio(lambda word, *facts: told.append(word), pipeline=pipe)
    studio.draw(Settings("", ("Bag",), 1, 2, 1.5, "euler", 0))
    studio.worker.wait()
    assert told[0] == "drawing" and told[-2:] == ["drawn", "idle"]


def test_a_late_cancel_does_not_stop_the_model_that_was_chosen_meanwhile(pipe):
    told, bags = [], Settings("", ("Bag",), 64, 12, 1.5, "euler", 0)
    studio = Studio(lambda word, *facts: told.append(word), pipeline=pipe)
    studio.draw(bags)
    studio.open(FASHION)
    studio.cancel()
    assert studio.worker.doing == "loading" and not studio.draw(bags, instead=True)
    studio.worker.wait()
    assert "opened" in told and told.count("drawn") <= 1
