"""The panel as people meet it: in a real headless Chromium, as the page of `classypics panel` and in JupyterLab.

Pictures of every state go to outputs/screenshots/. Where there is no Chromium, all of it is skipped.
"""

import contextlib, csv, io, json, os, re, shutil, signal, socket, subprocess, sys, time, zipfile
from pathlib import Path

import pytest
from PIL import Image
from refresh import ROOT

from classypics.data import safe_name
from classypics.pipeline import Pipeline, shipped
from classypics.recipe import Recipe, train

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here (Debian: apt-get install chromium)")
SHOTS = ROOT / "outputs" / "screenshots"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
NASTY = ['"quoted"', "<b>bold</b>", "../up", "a/b", "любовь"]
VOILAS_OWN = re.compile(r"favicon")  # errors in the console that are none of ours


# --- a folder to work in, the two servers, the browser ---


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    "A folder with models in `outputs`: trained, with many and with odd class names, broken."
    place = tmp_path_factory.mktemp("place")
    outputs = place / "outputs"
    pipe = train(Recipe("digits", out=str(outputs / "digits"), steps=60, widths=[8, 16]), progress=False)
    for name, classes in {"many": [f"kind {k}" for k in range(30)], "nasty": NASTY}.items():
        config = pipe.config | {"classes": {"class": classes}, "data": {"name": name, "fingerprint": "", "pictures": 0}}
        config["conditioner"] = {"type": "ClassLabels", "args": {"classes": classes}}
        Pipeline(config).save_pretrained(outputs / name)
    shutil.copytree(outputs / "many", outputs / "broken")
    (outputs / "broken" / "model.safetensors").write_bytes(b"not a model")
    return place


def a_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def environment(place: Path) -> dict:
    mine = {k: v for k, v in os.environ.items() if k != "CLASSYPICS_OUTPUTS"}
    return mine | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}


def ended(process):
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()


@contextlib.contextmanager
def serving(place, *model):
    "The page's address, and its program."
    code = "from classypics.cli import main; main()"
    command = [sys.executable, "-c", code, "panel", *model, "--port", str(a_port()), "--no-browser"]
    served = subprocess.Popen(command, cwd=place, env=environment(place), stdout=subprocess.PIPE, text=True,
                              stdin=subprocess.DEVNULL)
    try:
        yield re.search(r"http://\S+", served.stdout.readline())[0], served
    finally:
        ended(served)


@pytest.fixture(scope="module")
def page_address(place):
    with serving(place) as (address, _):
        yield address


@pytest.fixture(scope="module")
def lab_address(place, tmp_path_factory):
    own = tmp_path_factory.mktemp("jupyter")
    cell = {"cell_type": "code", "id": "panel", "metadata": {}, "execution_count": None, "outputs": [],
            "source": "from classypics import Panel\n\nPanel()"}
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (place / "panel.ipynb").write_text(json.dumps(notebook))
    names = "CONFIG_DIR", "RUNTIME_DIR", "DATA_DIR"
    env = environment(place) | {f"JUPYTER_{n}": str(own / n) for n in names}
    env |= {f"JUPYTERLAB_{n}": str(own / n) for n in ("SETTINGS_DIR", "WORKSPACES_DIR")}
    port = a_port()
    served = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
         "--ServerApp.port_retries=0", "--IdentityProvider.token=t", f"--ServerApp.root_dir={place}",
         "--LabApp.expose_app_in_browser=True", "--LabApp.extension_manager=readonly", "--LabApp.news_url=None",
         "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"],
        cwd=place, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    for _ in range(600):
        with socket.socket() as s:
            if not s.connect_ex(("127.0.0.1", port)):
                break
        time.sleep(0.1)
    yield f"http://127.0.0.1:{port}/lab/tree/panel.ipynb?token=t"
    ended(served)


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        context = p.chromium.launch_persistent_context(
            str(tmp_path_factory.mktemp("browser")), executable_path=CHROMIUM, headless=True, args=FLAGS,
            viewport={"width": 1100, "height": 900}, permissions=["clipboard-read", "clipboard-write"])
        context.set_default_timeout(60_000)
        yield context
        context.close()


RUN_ALL = """async () => {
  const app = window.jupyterapp; await app.restored;
  let widget; while (!(widget = [...app.shell.widgets('main')].find(w => w.context?.path === 'panel.ipynb')))
    await new Promise(r => setTimeout(r, 100));
  const context = widget.context; await context.ready; await context.sessionContext.ready;
  await context.sessionContext.session.kernel.info;
  await app.commands.execute('notebook:run-all-cells');
}"""


class Visit:
    "Somebody in front of the panel."

    def __init__(self, context, kind: str, address: str):
        self.kind, self.page, self.asked, self.errors = kind, context.new_page(), [], []
        self.page.on("request", lambda r: self.asked.append(r.url))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.goto(address)
        if kind == "lab":
            self.page.wait_for_selector(".jp-Notebook")  # a second window is first sent to a workspace of its own
            self.page.evaluate(RUN_ALL)
            self.page.add_style_tag(content=".Toastify { display: none }")  # would you like to have news?
        self.page.wait_for_selector(".cp-generate")
        self.says("Choose, then press Generate")

    def says(self, pattern: str):
        "Wait until the sentence under the buttons matches."
        self.sees(".cp-said", pattern)

    def sees(self, selector: str, pattern: str):
        "Wait until the text of the first that `selector` finds matches."
        check = "([s, p]) => new RegExp(p).test(document.querySelector(s)?.textContent)"
        self.page.wait_for_function(check, arg=[selector, pattern])

    def field(self, label: str):
        return self.page.locator(".classypics").get_by_label(label, exact=True)

    def choose(self, name: str):
        self.page.locator(".cp-choice").get_by_role("button", name=name, exact=True).click()

    def press(self, name: str):
        self.page.locator(".classypics").get_by_role("button", name=name).click()

    def generate(self, *, number: int):
        self.press("Generate")
        self.says(rf"^{number} picture")
        return self.page.locator("button.cp-tile")

    def idle(self):
        self.page.wait_for_function("document.querySelector('.cp-generate').textContent === 'Generate'")

    def shot(self, name: str):
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{self.kind}-{name}.png")

    def saved(self, button: str) -> bytes:
        with self.page.expect_download() as download:
            self.press(button)
        return download.value.suggested_filename, Path(download.value.path()).read_bytes()


@pytest.fixture(scope="module", params=["page", "lab"])
def visit(request, context):
    visit = Visit(context, request.param, request.getfixturevalue(f"{request.param}_address"))
    yield visit
    visit.page.close()


# --- what a person does ---


def test_it_opens_ready(visit):
    visit.shot("open")
    assert visit.page.locator(".cp-choice button").all_text_contents()[-1] == "one of each"
    assert visit.field("Model").locator("option").all_text_contents() == [
        *shipped(), "outputs/broken", "outputs/digits", "outputs/many", "outputs/nasty"]
    assert visit.page.get_by_role("button", name="Cancel").is_disabled()


def test_a_class_is_drawn(visit):
    visit.choose("Sneaker")
    visit.field("Pictures").fill("16")
    tiles = visit.generate(number=16)
    assert tiles.count() == 16 and "Sneaker" in tiles.nth(3).text_content() and "seed 3" in tiles.nth(3).text_content()
    visit.shot("drawn")
    sizes = visit.page.evaluate("""async () => { const all = [...document.querySelectorAll('button.cp-tile img')];
        await Promise.all(all.map(i => i.decode())); return all.map(i => [i.naturalWidth, i.width]) }""")
    assert sizes == [[28, 112]] * 16


def test_progress_is_seen_and_cancelled(visit):
    visit.press("More settings")
    visit.field("Steps").fill("200")
    visit.field("Pictures").fill("16")
    visit.press("Generate")
    visit.sees(".classypics", "step [1-9].* of 200, .* s left")
    visit.page.wait_for_function("document.querySelectorAll('span.cp-tile img').length === 16")
    visit.shot("drawing")
    visit.page.locator(".cp-generate").click()  # a second click
    visit.press("Cancel")
    visit.says("^Cancelled: 0 of 16")
    visit.idle()
    assert visit.page.locator("button.cp-tile").count() == 16  # the last drawing is shown again
    visit.field("Steps").fill("12")
    visit.field("Pictures").fill("3")
    assert visit.generate(number=3).count() == 3
    assert len(visit.field("History").locator("option").all()) == 2  # and not one of a second click
    visit.press("More settings")


def test_a_finished_picture_is_clicked_while_others_are_drawn(visit):
    page = visit.page
    visit.press("More settings")
    visit.field("Steps").fill("250")
    visit.field("Pictures").fill("64")
    visit.press("Generate")
    page.wait_for_function("document.querySelectorAll('button.cp-tile').length === 16")
    tile = page.locator("button.cp-tile").nth(2)
    tile.scroll_into_view_if_needed()
    tile.hover()
    page.mouse.down()
    page.wait_for_timeout(200)  # as a finger does
    page.mouse.up()
    visit.sees(".cp-viewer h3", "seed 2")
    assert "Drawing" in page.locator(".cp-generate").text_content()
    assert page.evaluate("document.activeElement.matches('button.cp-tile')")
    page.keyboard.press("Escape")
    visit.says("^Cancelled: (16|32|48) of 64")
    visit.idle()
    visit.field("Steps").fill("12")
    visit.press("More settings")


def test_one_of_each(visit):
    visit.choose("one of each")
    tiles = visit.generate(number=10)
    assert [t.split("seed")[0] for t in tiles.all_text_contents()][:2] == ["T-shirt/top", "Trouser"]
    visit.shot("one-of-each")


def test_a_picture_large_with_its_film(visit):
    visit.choose("Bag")
    visit.field("Pictures").fill("3")
    tiles = visit.generate(number=3)
    tiles.nth(1).click()
    slider = visit.page.get_by_label("film: step of 12")
    slider.wait_for()
    assert tiles.nth(1).get_attribute("aria-pressed") == "true"
    frame = lambda: visit.page.locator(".cp-film img:visible").get_attribute("src")
    last = frame()
    slider.focus()
    visit.page.keyboard.press("Home")
    assert frame() != last and "step 1 of 12" in visit.page.locator(".cp-film").text_content()
    visit.shot("large")
    visit.page.keyboard.press("End")
    assert frame() == last
    visit.page.locator(".cp-code button").click()
    assert visit.page.evaluate("navigator.clipboard.readText()").startswith("from classypics import Pipeline")
    name, data = visit.saved("Save GIF")
    assert name == "Bag-1.gif" and Image.open(io.BytesIO(data)).n_frames == 12
    name, data = visit.saved("Save PNG")
    facts = json.loads(Image.open(io.BytesIO(data)).text["classypics"])
    assert name == "Bag-1.png" and facts["class"] == "Bag" and facts["seed"] == 1
    visit.press("More like this")
    visit.sees("button.cp-tile", "seed 3")
    visit.idle()


def test_everything_as_a_zip(visit):
    number = int(re.search(r"\d+", visit.page.get_by_role("button", name="Save all").text_content())[0])
    name, data = visit.saved("Save all")
    archive = zipfile.ZipFile(io.BytesIO(data))
    rows = list(csv.DictReader(io.StringIO(archive.read("manifest.csv").decode())))
    assert name == "classypics.zip" and len(rows) == len(archive.namelist()) - 1 == number
    assert all(r["file"].startswith(safe_name(r["class"]) + "/") for r in rows)
    assert all(Image.open(io.BytesIO(archive.read(r["file"]))).size == (28, 28) for r in rows)
    again = []
    visit.page.on("download", lambda download: again.append(download))
    if visit.kind == "lab":  # a second view shows the same HTML once more
        visit.page.evaluate("window.jupyterapp.commands.execute('notebook:create-output-view')")
        visit.page.wait_for_function("document.querySelectorAll('.cp-generate').length === 2")
        visit.page.wait_for_timeout(1000)
        visit.page.evaluate("""() => [...window.jupyterapp.shell.widgets('main')].forEach(
            w => { if (w.context?.path !== 'panel.ipynb' || w.id.startsWith('LinkedOutputView')) w.close() })""")
        visit.page.wait_for_function("document.querySelectorAll('.cp-generate').length === 1")
    assert not again


def test_models_change_and_a_broken_one_is_named(visit):
    visit.field("Model").select_option("outputs/broken")
    visit.says("outputs/broken cannot be opened: .* the others can still be chosen")
    visit.shot("broken")
    visit.field("Model").select_option("outputs/digits")
    visit.says("outputs/digits draws 10 classes, 8 x 8")
    visit.choose("7")
    tiles = visit.generate(number=3)
    tiles.first.click()
    visit.sees(".cp-viewer", "nearest training picture, [0-9]+ grey levels")
    visit.shot("nearest")


def test_many_classes_are_searched(visit):
    visit.field("Model").select_option("outputs/many")
    visit.says("draws 30 classes")
    box = visit.field("Class")
    box.fill("kind 17")
    box.press("Enter")
    visit.sees("button.cp-tile", "kind 17")
    visit.idle()
    visit.shot("many")


def test_odd_names_are_text_and_safe(visit):
    visit.field("Model").select_option("outputs/nasty")
    visit.says("draws 5 classes")
    assert visit.page.locator(".cp-choice button").all_text_contents()[:5] == NASTY
    visit.choose("one of each")
    tiles = visit.generate(number=5)
    assert [t.split("seed")[0] for t in tiles.all_text_contents()] == NASTY
    visit.shot("odd-names")
    seed = re.search(r"seed (\d+)", tiles.nth(2).text_content())[1]
    tiles.nth(2).click()
    visit.sees(".cp-viewer", "Cannot be told")
    assert visit.saved("Save PNG")[0] == f"{safe_name('../up')}-{seed}.png"
    visit.field("Model").select_option("fashion-mnist")
    visit.says("^fashion-mnist draws")


def test_by_keyboard_alone(visit):
    page = visit.page
    page.locator(".cp-choice").get_by_role("button", name="Pullover").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Coat"
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert outline == "3px"  # where one is can be seen
    page.keyboard.press("Enter")  # chooses, and generates
    visit.sees("button.cp-tile", "Coat")
    visit.idle()
    stops = []
    while "cp-generate" not in (stops[-1] if stops else ""):
        page.keyboard.press("Tab")
        stops.append(page.evaluate("document.activeElement.className + '|' + document.activeElement.type"))
        assert len(stops) < 30
    before = page.locator(".cp-gallery").inner_html()
    visit.field("Seed").focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("77")
    page.keyboard.press("Enter")
    visit.sees("button.cp-tile", "seed 77")
    visit.idle()
    assert page.locator(".cp-gallery").inner_html() != before
    page.locator("button.cp-tile").first.focus()
    page.keyboard.press("Enter")
    page.get_by_label("film: step of 12").wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className").startswith("cp-tile")
    visit.shot("focus")


def test_live_draws_when_the_class_changes(visit):
    visit.field("Live: draw when the class changes").check()
    for name in ("Dress", "Trouser", "Ankle boot"):  # faster than they can be drawn
        visit.choose(name)
    visit.sees("button.cp-tile", "Ankle boot")
    visit.idle()
    visit.field("Live: draw when the class changes").uncheck()


def test_out_of_range_is_not_possible(visit):
    count = visit.field("Pictures")
    count.fill("100000")
    count.press("Tab")
    visit.page.wait_for_function("[...document.querySelectorAll('.cp-count input')].some(i => i.value === '64')")
    count.fill("4")
    count.press("Tab")


def test_every_control_has_a_label(visit):
    unnamed = visit.page.evaluate("""() => [...document.querySelectorAll('.classypics :is(button, input, select)')]
        .filter(c => c.checkVisibility() && !(c.textContent.trim() || c.getAttribute('aria-label')
            || [...(c.labels || [])].some(l => l.textContent.trim()))).map(c => c.outerHTML)""")
    assert not unnamed
    assert not visit.page.evaluate("[...document.querySelectorAll('.cp-gallery img')].filter(i => !i.alt).length")


@pytest.mark.parametrize("width, height, name", [(375, 800, "phone"), (550, 450, "zoom")])  # 1100 pixels at 200 %
def test_narrow_windows(visit, width, height, name):
    visit.page.set_viewport_size({"width": width, "height": height})
    if visit.kind == "lab":
        visit.page.evaluate("window.jupyterapp.shell.collapseLeft()")
    visit.page.wait_for_timeout(500)
    visit.shot(name)
    beyond = visit.page.evaluate("""() => {
        const right = Math.min(document.querySelector('.classypics').getBoundingClientRect().right + 1, innerWidth);
        return [...document.querySelectorAll('.classypics :is(button, input, select, img, p, h3)')]
            .filter(c => c.checkVisibility() && c.getBoundingClientRect().right > right).map(c => c.outerHTML) }""")
    assert not beyond
    visit.page.set_viewport_size({"width": 1100, "height": 900})


def contrast(visit, selector: str) -> float:
    "The contrast of an element's text with what lies behind it."
    return visit.page.evaluate("""selector => {
        const light = c => { const v = c.map(x => (x /= 255) <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
            return .2126 * v[0] + .7152 * v[1] + .0722 * v[2] };
        const parts = c => c.match(/[\\d.]+/g).map(Number);
        let e = document.querySelector(selector), ink = light(parts(getComputedStyle(e).color).slice(0, 3)), paper;
        for (; e; e = e.parentElement) { const p = parts(getComputedStyle(e).backgroundColor);
            if (p.length < 4 || p[3] > 0) { paper = light(p.slice(0, 3)); break } }
        paper ??= 1;
        return (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05) }""", selector)


def test_dark(visit):
    if visit.kind == "lab":
        visit.page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
        visit.page.wait_for_selector("body[data-jp-theme-light=false]", state="attached")
    else:
        visit.page.emulate_media(color_scheme="dark")
    visit.page.wait_for_timeout(500)
    visit.shot("dark")
    texts = ".cp-said p", ".cp-choice button", ".cp-generate", ".cp-dice", ".cp-tile b", ".classypics input", "pre"
    for selector in texts:
        assert contrast(visit, selector) >= 4.5, selector


def test_a_model_that_is_removed_meanwhile(visit, place):
    (place / "outputs/digits").rename(place / "digits")
    try:
        visit.field("Model").select_option("outputs/digits")
        visit.says("outputs/digits cannot be opened")
        assert visit.generate(number=4).count() == 4  # the model before goes on
    finally:
        (place / "digits").rename(place / "outputs/digits")


def test_what_is_said_is_read_aloud(visit):
    said = visit.page.query_selector(".cp-said[aria-live=polite]")
    visit.field("Pictures").fill("3")
    visit.generate(number=3)
    assert said.evaluate("s => s.isConnected") and said.text_content().startswith("3 pictures")


def test_nobody_outside_is_asked_and_nothing_complains(visit):
    outside = [u for u in visit.asked if not re.match(r"(https?://127\.0\.0\.1:|data:|blob:)", u)]
    assert not outside
    assert not [e for e in visit.errors if not VOILAS_OWN.search(e)]


def test_a_second_visitor(context, page_address):
    first, second = (Visit(context, "page", page_address) for _ in range(2))
    second.choose("Dress")
    assert second.generate(number=8).count() == 8 and first.page.locator("button.cp-tile").count() == 0
    first.page.close()
    second.page.close()


def lost(visit) -> str:
    "What is said once the way to Python is cut."
    visit.page.wait_for_selector(".classypics:is(.jupyter-widgets-disconnected, .cp-lost)")
    visit.shot("lost")
    return visit.page.evaluate("getComputedStyle(document.querySelector('.classypics'), '::before').content")


def test_a_restarted_kernel_is_said(context, lab_address):
    visit = Visit(context, "lab", lab_address)
    visit.page.evaluate("""async () => { for (const w of window.jupyterapp.shell.widgets('main'))
        if (w.context?.path === 'panel.ipynb') await w.context.sessionContext.session.kernel.restart() }""")
    assert "run this cell again" in lost(visit)
    visit.page.close()


def processes_of(kernel: str) -> list[int]:
    "Those that were started with the kernel's file."
    started = {int(p.parent.name): p for p in Path("/proc").glob("[0-9]*/cmdline")}
    return [number for number, line in started.items() if f"kernel-{kernel}.json".encode() in line.read_bytes()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked for as Linux shows them")
def test_a_dead_kernel_behind_the_page_is_said_and_a_reload_helps(context, page_address):
    visit = Visit(context, "page", page_address)
    (process,) = processes_of(json.loads(visit.page.locator("#jupyter-config-data").text_content())["kernelId"])
    os.kill(process, signal.SIGKILL)
    assert "load this page again" in lost(visit)
    visit.page.reload()
    visit.says("Choose, then press Generate")
    assert visit.generate(number=8).count() == 8
    visit.page.close()


def test_a_page_whose_program_has_ended_says_so(context, place):
    with serving(place, "fashion-mnist") as (address, served):
        visit = Visit(context, "page", address)
        ended(served)
        assert "start classypics panel again" in lost(visit)
    visit.page.close()
