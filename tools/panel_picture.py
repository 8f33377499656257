"""Take the picture of the panel that README and lesson 12 show, in a headless Chromium.

    .venv/bin/python tools/panel_picture.py

The nearest training picture is on it where `CLASSYPICS_DATA` holds Fashion-MNIST.
"""

import io, shutil, socket, subprocess, sys, tempfile

from PIL import Image
from playwright.sync_api import sync_playwright
from refresh import NBS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def main():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    program = [sys.executable, "-c", "from classypics.cli import main; main()", "panel", "fashion-mnist"]
    command = [*program, "--port", str(port), "--no-browser"]
    served = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    try:
        address = served.stdout.readline().split(" at ")[1].split()[0]
        with sync_playwright() as p, tempfile.TemporaryDirectory() as folder:
            context = p.chromium.launch_persistent_context(
                folder, executable_path=CHROMIUM, headless=True, args=["--no-sandbox", "--disable-gpu"],
                viewport={"width": 880, "height": 1500})  # fmt: skip
            page = context.new_page()
            page.goto(address)
            page.locator(".cp-choice").get_by_role("button", name="Sneaker").click()
            page.locator(".cp-generate").click()
            page.locator("button.cp-tile").nth(5).click()
            page.wait_for_selector(".cp-film input")
            page.wait_for_function("!/Looking among/.test(document.querySelector('.cp-viewer').textContent)")
            page.locator(".cp-film input").fill("3")
            page.mouse.move(0, 0)
            page.evaluate("document.activeElement.blur()")
            page.wait_for_timeout(500)
            seen = Image.open(io.BytesIO(page.locator(".classypics").screenshot()))
            context.close()
    finally:
        served.terminate()
        served.wait()
    (NBS / "images").mkdir(exist_ok=True)
    seen.convert("RGB").quantize(64).save(NBS / "images" / "panel.png", optimize=True)


if __name__ == "__main__":
    main()
