"""The page in a real browser: no request and no error, filters, order, keys, hover, dark mode, narrow, axe, print.

Where there is no Chromium these tests are skipped; with ``INTERP_NEEDS_CHROMIUM=1``, as in .ci/run, they fail.
"""

import os
import shutil

import pytest
from pages import a_ledger, hostile_ledger, large_ledger, smallest_ledger

from pytest_interp.report.page.page import html_of

NEEDED = bool(os.environ.get("INTERP_NEEDS_CHROMIUM"))
PAGES = {
    "whole": a_ledger,
    "hostile": hostile_ledger,
    "smallest": smallest_ledger,
    "large": lambda: large_ledger(1000),
}


@pytest.fixture(scope="module")
def chromium():
    """One browser for all tests; skipped, or failed, with a sentence where there is none."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        sentence = "the page is not looked at: it takes Chromium (apt-get install chromium) and pip install playwright"
        pytest.fail(sentence) if NEEDED else pytest.skip(sentence)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name, ledger in PAGES.items():
        (folder / f"{name}.html").write_text(html_of(ledger()), encoding="utf-8")
    return folder


@pytest.fixture
def opened(chromium, files):
    """``opened(name, hash, **options)``: a page in a context of its own, whose errors and requests end the test."""
    contexts, complaints = [], []

    def visit(name="whole", address="", *, width=1200, **options):
        context = chromium.new_context(viewport={"width": width, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (complaints.append("a dialog opened"), dialog.dismiss()))
        file = (files / f"{name}.html").as_uri()
        page.on("request", lambda request: None if request.url == file else complaints.append(request.url))
        page.goto(file + address)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


def shown(page):
    return page.eval_on_selector_all(".claim:not([hidden])", "claims => claims.map(claim => claim.dataset.f)")


def test_filters_search_and_their_address(opened):
    page = opened()
    assert len(shown(page)) == 5
    page.select_option("#f", "refuted")
    assert shown(page) == ["refuted"]
    assert page.url.endswith("#?f=refuted")
    assert page.inner_text("#shown") == "1 of 5"
    page.select_option("#f", "attention")
    assert shown(page) == ["refuted", "inconclusive"]
    page.fill("#q", "IS_UNSURE preferred")
    assert shown(page) == ["inconclusive"]
    page.fill("#q", "nothing has this")
    assert page.is_visible("#none")
    page.click("#all")
    assert len(shown(page)) == 5
    assert page.is_hidden("#clear")
    again = opened(address="#?f=refuted&q=lost&sort=-d")
    assert shown(again) == ["refuted"]
    assert again.input_value("#q") == "lost"
    again.click("header .tally a >> nth=1")
    assert shown(again) == ["inconclusive"]


def test_order(opened):
    page = opened()
    header = page.locator("th", has=page.locator("[data-sort=d]"))
    assert page.get_attribute("th.c-v", "aria-sort") == "ascending"
    page.click("[data-sort=d]")
    assert header.get_attribute("aria-sort") == "ascending"
    assert page.get_attribute("th.c-v", "aria-sort") is None
    margins = page.eval_on_selector_all(".claim", "claims => claims.map(c => parseFloat(c.dataset.d ?? 'Infinity'))")
    assert margins == sorted(margins)
    page.click("[data-sort=d]")
    assert header.get_attribute("aria-sort") == "descending"
    assert page.url.endswith("#?sort=-d")
    page.click("[data-sort=v]")
    assert shown(page) == ["refuted", "inconclusive", "expected failure", "not applicable", "supported"]


def test_a_link_opens_its_claim_and_its_code(opened):
    page = opened(address="#claim-it.holds-gpt2")
    claim = page.locator("#claim-it\\.holds-gpt2")
    assert claim.locator("details").first.get_attribute("open") is not None
    claim.locator("pre").wait_for()
    assert claim.locator("pre").inner_text().strip() == "def test_it(): ..."
    claim.get_by_text("heat map").first.click()
    assert page.eval_on_selector("details.map:target", "map => map.open")


def test_keys(opened):
    page = opened()
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.eval_on_selector(".claim.now", "claim => claim.dataset.f") == "inconclusive"
    page.keyboard.press("o")
    assert not page.eval_on_selector(".claim.now details", "details => details.open")
    page.keyboard.press("k")
    assert page.eval_on_selector(".claim.now", "claim => claim.dataset.f") == "refuted"
    page.keyboard.press("f")
    assert len(shown(page)) == 2
    page.keyboard.press("?")
    assert page.is_visible("#keys")
    page.keyboard.press("Escape")
    assert page.is_hidden("#keys")
    page.keyboard.press("/")
    page.keyboard.type("j holds")
    assert page.input_value("#q") == "j holds"
    page.keyboard.press("Escape")
    assert len(shown(page)) == 5


def test_cells_are_read_by_pointer_and_keyboard(opened):
    page = opened()
    readout = page.locator("details.map output").first
    page.hover("details.map[open] td >> nth=0")
    assert readout.inner_text() == "0.0 1.000"
    page.focus("details.map[open] td >> nth=0")
    page.keyboard.press("ArrowRight")
    assert "0.1 undefined" in readout.inner_text()
    page.keyboard.press("ArrowDown")
    assert readout.inner_text() == "1.1 -2.000 (claimed: mover)"
    page.keyboard.press("ArrowDown")
    assert readout.inner_text() == "1.1 -2.000 (claimed: mover)", "the last row"
    page.select_option("#att-h", "9.8")
    page.hover("#att-out td >> nth=3")
    assert page.inner_text("#att-read") == "gave → gave 0.750"
    assert page.locator("#att-out tbody tr").count() == 2


def test_prompts_and_commands_are_copied_whole(opened):
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    page.locator(".claim .worst li button").first.click()
    page.locator(".claim .worst button", has_text="copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "prompt 0"
    page.locator(".claim .cmd button").first.click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("pytest 'claims/test_it.py::test_is_lost[gpt2]'")


def test_a_path_is_read_by_pointer_and_keyboard_and_leads_to_its_claim(opened):
    page = opened()
    readout = page.locator(".circuit-of output")
    assert readout.inner_text() == "3 tested paths"
    page.locator(".edge rect").first.hover()
    assert readout.inner_text().startswith("path 1: 0.3 into the values of 1.1, 2.0 at END: ")
    page.locator(".edge").first.focus()
    page.keyboard.press("Tab")
    assert readout.inner_text().startswith("path 2: 1.1 into the queries of 2.0 at END: ")
    assert readout.inner_text().endswith("required at least 1: supported")
    page.keyboard.press("Enter")
    page.wait_for_url("**#claim-it.holds-gpt2")
    page.locator(".claim:target details[open]").wait_for(state="attached")


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_light_and_dark(opened):
    page = opened(color_scheme="light")
    light = background(page)
    page.emulate_media(color_scheme="dark")
    dark = background(page)
    assert light != dark
    page.click("#theme")
    assert background(page) == light
    page.reload()
    assert background(page) == light, "the choice is kept"
    page.keyboard.press("t")
    assert background(page) == dark


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [380, 1200])
def test_the_body_never_scrolls_sideways(opened, name, width):
    page = opened(name, width=width)
    page.evaluate("document.querySelectorAll('details').forEach((details, i) => { if (i < 200) details.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["whole", "hostile"])
def test_axe_has_no_serious_findings(opened, name, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = opened(name, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    violations = Axe().run(page).response["violations"]
    serious = [
        (finding["id"], finding["nodes"][0]["html"][:200], finding["nodes"][0]["failureSummary"])
        for finding in violations
        if finding["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_a_hostile_name_does_nothing(opened):
    page = opened("hostile")
    assert page.title().startswith("</script><img src=x onerror=alert(1)>")
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2
    page.select_option("#r", index=1)
    assert len(shown(page)) == 3
    page.hover("#att-out td >> nth=0")
    assert "onerror" in page.inner_text("#att-out")


def test_a_thousand_claims_are_filtered_at_once(opened):
    page = opened("large")
    page.fill("#q", "number_999")
    assert page.inner_text("#shown") == "1 of 1000"


def test_it_is_printed(opened, tmp_path):
    page = opened(color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.is_hidden("#tools")
    assert page.is_hidden("nav.toc")
    assert page.is_visible("#unchecked")
    assert page.pdf(format="A4").startswith(b"%PDF")
