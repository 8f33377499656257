"""How quick the panel feels: the page of `classypics panel` in a headless Chromium, and 600 drawings by script.

    .venv/bin/python bench/panel.py             both, in two to three minutes
    .venv/bin/python bench/panel.py page        the page alone
    .venv/bin/python bench/panel.py drawings    the drawings alone, without a browser

Times are seen from within the browser, as medians of several tries.
"""

import os, resource, shutil, socket, statistics, subprocess, sys, tempfile, time
from pathlib import Path

import torch
from playwright.sync_api import sync_playwright

from classypics.panel import Panel
from classypics.pipeline import Pipeline

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
# seconds from a click on `selector` until `until` holds, looked at with every picture that the browser shows
CLICKED = """([selector, until]) => new Promise((done, fail) => {
    setTimeout(() => fail(new Error('not within 30 s: ' + until)), 30000);
    const start = performance.now(), holds = new Function('return ' + until);
    const look = () => holds() ? done((performance.now() - start) / 1000) : requestAnimationFrame(look);
    document.querySelector(selector).click(); requestAnimationFrame(look) })"""
IDLE = "document.querySelector('.cp-generate').textContent === 'Generate'"
TILES = "document.querySelectorAll('button.cp-tile').length"
GUESSES = "document.querySelectorAll('span.cp-tile img').length"


def row(what: str, measured: float, at_most: float, unit: str = "s"):
    missed = "" if measured <= at_most else "   MISSED"
    print(f"{what:45} {measured:7.2f} {unit:3} at most {at_most:g}{missed}", flush=True)


def visit(context, address: str):
    "A page with a usable panel, and how long that took."
    page, start = context.new_page(), time.perf_counter()
    page.goto(address)
    page.wait_for_function("/press Generate/.test(document.querySelector('.cp-said')?.textContent)")
    return page, time.perf_counter() - start


def clicks(page):
    "Click to preview, to one picture, to sixteen; cancel to idle."
    click = lambda selector, until: page.evaluate(CLICKED, [selector, until])
    field = lambda label: page.locator(".classypics").get_by_label(label, exact=True)
    clear = lambda: page.evaluate("document.querySelectorAll('.cp-tile').forEach(t => t.remove())")

    def measured(number, until, tries=7):
        field("Pictures").fill(str(number))
        field("Pictures").press("Tab")
        times = []
        for _ in range(tries):
            page.wait_for_function(IDLE)
            clear()
            times.append(click(".cp-generate", until))
            page.wait_for_function(IDLE)
        return statistics.median(times)

    measured(16, f"{TILES} === 16", tries=1)  # the first of all is not the usual one
    row("click to first preview (16 pictures)", measured(16, f"{GUESSES} === 16"), 0.3)
    row("click to 1 finished picture", measured(1, f"{TILES} === 1"), 0.5)
    row("click to 16 finished pictures", measured(16, f"{TILES} === 16"), 1.2)
    page.locator(".classypics").get_by_role("button", name="More settings").click()
    field("Steps").fill("250")
    field("Steps").press("Tab")
    times = []
    for _ in range(7):
        clear()
        click(".cp-generate", f"{GUESSES} === 16")
        times.append(click(".cp-cancel", IDLE))
    row("Cancel to idle", statistics.median(times), 0.3)


def memory() -> float:
    "Megabytes that this process holds; where the system does not say, the most it ever held."
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def held(history) -> float:
    "Megabytes of a panel's history: its pictures as PNG files, and what is known of each."
    parts = [(p.png, p, vars(p), p.settings, vars(p.settings), p.settings.asked) for d in history for p in d.pictures]
    return sum(sys.getsizeof(part) for picture in parts for part in picture) / 1e6


def by_script():
    "500 drawings and 100 that are cancelled, without a browser."
    panel, drawn, lost, stuck, shares, after_50 = Panel(Pipeline.from_pretrained("fashion-mnist")), 0, 0, 0, [], 0.0
    for k in range(600):
        cancels = k % 6 == 5
        panel.controls.count.value = 16 if cancels else 1 + 15 * (k % 6 == 0)
        panel.controls.generate.click()
        if cancels:
            time.sleep(0.01 * (k % 17))
            panel.controls.cancel.click()
        panel.studio.worker.wait()
        stuck += not panel.controls.cancel.disabled or panel.controls.generate.description != "Generate"
        if not cancels:
            drawn += 1
            last = panel.studio.history[-1]
            lost += len(last.pictures) != panel.controls.count.value
            if len(last.pictures) == 16:
                shares.append(last.shown / last.seconds)
        if drawn == 50 and not after_50:
            after_50, kept = memory(), len(panel.studio.history)
    grown, history = memory() - after_50, held(panel.studio.history[kept:])
    row("the panel's own share of drawing 16", 100 * statistics.median(shares), 10, "%")
    row("500 drawings, 100 cancels: memory grows by", grown, 20, "MB")
    print(f"... of this the history, which is meant to grow {history:5.2f} MB, and the rest {grown - history:.2f} MB")
    row("... controls that got stuck", stuck, 0, "")
    row("... drawings that lost pictures", lost, 0, "")


def by_browser():
    "The page of `classypics panel`, as somebody in front of it has it."
    if not CHROMIUM:
        sys.exit("there is no Chromium on this computer (Debian: apt-get install chromium)")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    program = [sys.executable, "-c", "from classypics.cli import main; main()"]
    command = [*program, "panel", "fashion-mnist", "--port", str(port), "--no-browser"]
    served = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    address = served.stdout.readline().split(" at ")[1].split()[0]
    time.sleep(15)  # the second kernel gets ready too
    try:
        with sync_playwright() as p, tempfile.TemporaryDirectory() as folder:
            context = p.chromium.launch_persistent_context(folder, executable_path=CHROMIUM, headless=True, args=FLAGS)
            visit(context, address)[0].close()  # what a browser keeps for the next visit
            time.sleep(15)
            page, seconds = visit(context, address)
            second, seconds_2 = visit(context, address)
            row("page open to usable panel, warm", seconds, 3)
            row("... a second visitor", seconds_2, 3)
            second.close()
            time.sleep(20)  # the pool of kernels is filled again
            page.bring_to_front()
            clicks(page)
            context.close()
    finally:
        served.terminate()
        served.wait()


def main():
    parts = {"page": by_browser, "drawings": by_script}
    if unknown := set(sys.argv[1:]) - set(parts):
        sys.exit(f"there is no part {', '.join(unknown)}; parts: {', '.join(parts)}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{cores} cores, {torch.get_num_threads()} threads of torch")
    for part in sys.argv[1:] or parts:
        parts[part]()


if __name__ == "__main__":
    main()
