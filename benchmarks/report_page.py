"""How fast report.html of 5,000 cases opens in a headless Chromium, and how large it is.

    python benchmarks/report_page.py

Opened is when the first 200 cases are listed and painted; each time in a new context, so that nothing is cached.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from adapter_conform.report import render_html

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "browser"))
from _chromium import chromium
from _sample import sample_result

_RUNS = 11
_CASES = (1000, 5000, 20000)
_PAINTED = "new Promise(done => requestAnimationFrame(() => setTimeout(() => done(performance.now()))))"


def main() -> None:
    print("| Cases | MiB | written, s | opened, s: median (worst) |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        for cases in _CASES:
            result = sample_result(cases)
            start = time.perf_counter()
            text = render_html(result)
            written = time.perf_counter() - start
            path = Path(folder, f"{cases}.html")
            path.write_text(text, encoding="utf-8")
            opened = []
            for _ in range(_RUNS):
                context = browser.new_context(viewport={"width": 1280, "height": 900})
                page = context.new_page()
                page.goto(path.as_uri())
                opened.append(page.evaluate(_PAINTED) / 1000)
                context.close()
            size = len(text.encode()) / 2**20
            print(f"| {cases} | {size:.1f} | {written:.2f} | {statistics.median(opened):.2f} ({max(opened):.2f}) |")


if __name__ == "__main__":
    main()
