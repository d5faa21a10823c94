"""Makes the pictures of the report that the documentation shows, of a healthy run and of one with a planted fault.

    adapter-conform --plugin refchip --profile smoke --out out
    python tools/screenshots.py out/report.html docs/images

Needs refchip, Chromium and playwright. Pictures stay below 150 KB: they are reduced to 64 colours. Where Python is
installed is left out of them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))
from _chromium import chromium  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_MOST_BYTES = 150_000
_FAULTY = ("--suite", "ops", "-k", "float32 and (ops/tanh/ or ops/relu/ or ops/softmax/)")
_FAULT = {"ADAPTER_CONFORM_PRELOAD": "adapter_faults:plant", "ADAPTER_FAULT": "missing_gradient"}
_WITHOUT_PATHS = """() => {
  for (const fact of document.querySelectorAll("dd")) {
    fact.textContent = fact.textContent.replace(/^\\/.*(?=\\/site-packages\\/)/, "...");
  }
}"""


def faulty_report(out: Path) -> str:
    """Runs a few operators on refchip with a planted fault; the address of the report."""
    command = [sys.executable, "-m", "adapter_conform", "--plugin", "refchip", "--profile", "smoke", *_FAULTY]
    done = subprocess.run([*command, "--out", str(out)], env={**os.environ, **_FAULT}, check=False)
    if done.returncode != 1:
        raise SystemExit(f"the run with a fault ended with {done.returncode} instead of 1; see {out}")
    return (out / "report.html").as_uri()


def picture(browser: Browser, address: str, path: Path, *, size: tuple[int, int], dark: bool, show: str) -> None:
    """Takes a picture of the page, scrolled to what the selector ``show`` names, if it is not empty."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light", device_scale_factor=1
    )
    page = context.new_page()
    page.goto(address)
    page.evaluate(_WITHOUT_PATHS)
    if show:
        page.locator(show).first.evaluate("node => node.scrollIntoView()")
    page.screenshot(path=path)
    context.close()
    _reduce(path)
    if path.stat().st_size > _MOST_BYTES:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes; at most {_MOST_BYTES} are allowed")
    print(f"{path}: {path.stat().st_size} bytes")


def _reduce(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        image.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="report.html of a run of refchip that is conformant")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    options = parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work, chromium() as browser:
        good, bad = options.report.resolve(strict=True).as_uri(), faulty_report(Path(work, "bad"))
        wide, narrow = (1280, 900), (390, 800)
        picture(browser, good, folder / "report-overview.png", size=wide, dark=False, show="")
        picture(browser, good, folder / "report-narrow.png", size=narrow, dark=True, show="")
        picture(browser, good, folder / "report-errors.png", size=(1280, 640), dark=False, show="#errors")
        picture(browser, good, folder / "report-losses.png", size=(1280, 640), dark=False, show="#losses")
        picture(browser, bad, folder / "report-failure.png", size=(1280, 760), dark=False, show="#failures")


if __name__ == "__main__":
    main()
