"""A headless Chromium, and what is asked of a page in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser of ADAPTER_CHROMIUM, or the first on PATH. Skips without one, except in CI, which has to have it."""
    path = os.environ.get("ADAPTER_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed (extra `dev`)")
    if path is None:
        _missing("no browser on PATH: apt-get install chromium-headless-shell, or set ADAPTER_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def _missing(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
"""Pixels that the page is wider than the window."""

CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgba = (colour) => {
    if (!known.has(colour)) known.set(colour, drawn(colour));
    return known.get(colour);
  };
  const drawn = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], under) => [r, g, b].map((part, i) => part * a + under[i] * (1 - a));
  const background = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const linear = (part) => (part <= 0.04045 * 255 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = (colour) => {
    const [r, g, b] = colour.map(linear);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = {};
  for (const node of document.body.querySelectorAll("*")) {
    const words = [...node.childNodes].filter((child) => child.nodeType === 3 && child.data.trim());
    if (!words.length || !node.checkVisibility() || ["SCRIPT", "TITLE"].includes(node.tagName)) continue;
    const style = getComputedStyle(node);
    const under = background(node);
    const ink = over(rgba(node instanceof SVGElement ? style.fill : style.color), under);
    const [light, dark] = [luminance(ink), luminance(under)].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight) >= 700);
    const ratio = (light + 0.05) / (dark + 0.05);
    const name = node.tagName + "." + (node.getAttribute("class") || "");
    if (ratio < (large ? 3 : 4.5)) found[name] = [ratio, words[0].data.trim()];
  }
  return found;
}"""
"""Texts whose contrast is below WCAG 2's AA (1.4.3): 4.5, for large ones 3. Ratio and words, by tag and class."""

OVERLAPS = """() => {
  const found = [];
  for (const chart of document.querySelectorAll("figure.curves svg, .chart > svg")) {
    const texts = [...chart.querySelectorAll("text")].filter((text) => text.closest("[role=img]") === chart);
    const boxes = texts.map((text) => [text.textContent.trim(), text.getBoundingClientRect()]);
    const meet = (a, b) => a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom;
    boxes.forEach(([one, a], index) => boxes.slice(index + 1).forEach(([other, b]) => {
      if (meet(a, b)) found.push([one, other]);
    }));
    for (const [words, box] of boxes) if (box.left < 0 || box.right > innerWidth) found.push([words, "the edge"]);
  }
  return found;
}"""
"""Labels of charts that lie on one another or outside of the window."""


def focused(page: Any) -> dict[str, Any]:
    """What has the focus: its place in the document, what it is, and how its focus shows."""
    state: dict[str, Any] = page.evaluate(
        """() => {
          const node = document.activeElement, style = getComputedStyle(node), box = node.getBoundingClientRect();
          return {
            at: [...document.querySelectorAll("*")].indexOf(node),
            tag: node.tagName, id: node.id, text: node.textContent.trim(),
            outline: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
            inside: box.right > 0 && box.bottom > 0 && box.left < innerWidth && box.top < innerHeight,
          };
        }"""
    )
    return state
