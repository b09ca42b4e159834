"""Pictures of docs/sample.html in Chromium, for the page about the page: ``python docs/page_pictures.py``."""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parent


def main() -> None:
    """Writes the first screen and SmolLM2's heat map of patching effects, in light and dark, and its circuit."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_page(color_scheme=scheme, viewport={"width": 1200, "height": 860})
            page.goto((DOCS / "sample.html").as_uri())
            page.screenshot(path=DOCS / "pictures" / f"page-{scheme}.png")
            heat_map = page.locator("details.map[open] table").last
            heat_map.screenshot(path=DOCS / "pictures" / f"heat-map-{scheme}.png")
            if scheme == "light":
                page.locator(".circuit-of").last.screenshot(path=DOCS / "pictures" / "circuit-light.png")
        browser.close()


if __name__ == "__main__":
    main()
