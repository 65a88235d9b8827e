"""The built pages in a real browser."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "_build" / "html"
CHROMIUM = next(
    (p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))),
    None,
)
QUIET = ("gpu", "quic", "sync", "background-networking", "component-update")
FLAGS = ["--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in QUIET)]
NAMES = sorted(str(p.relative_to(PAGES)) for p in PAGES.glob("book/*.html"))
pytestmark = [pytest.mark.browser]
each = pytest.mark.parametrize("name", NAMES or ["not built"])


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """No line per request."""


@pytest.fixture(scope="module")
def address():
    assert NAMES, "the book is not built: run `make book`"
    handler = functools.partial(Quiet, directory=str(PAGES))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing, and in CI the pages must be tested")
        pytest.skip("no Chromium on this machine: the pages are not tested")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def visit(browser, address):
    """Open a page; its console errors and foreign requests are checked at the end."""
    contexts, troubles = [], []

    def open_page(name, width=1200, scheme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: troubles.append(str(e)))
        page.on(
            "request",
            lambda r: None if r.url.startswith((address, "data:")) else troubles.append(r.url),
        )
        page.goto(f"{address}/{name}", wait_until="load")
        page.wait_for_function("window.MathJax === undefined || !!MathJax.startup.promise")
        page.evaluate("window.MathJax && MathJax.startup.promise")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []


@each
def test_page_is_whole(visit, name):
    page = visit(name)
    text = page.inner_text("article")
    assert "$$" not in text
    assert "{ref}" not in text
    assert ":::" not in text
    assert page.locator("mjx-merror, mjx-container [data-mjx-error]").count() == 0
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.locator("input[type=search]:visible, .search-button__button:visible").count() <= 1
    assert (PAGES / name).stat().st_size < 3_000_000
    if "$" in text:
        assert page.locator("article span.math:not(:has(mjx-container))").count() == 0


@each
def test_nothing_scrolls_sideways_on_a_phone(visit, name):
    page = visit(name, width=390)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wide) <= 0
    # a wide equation opens at its left end
    starts = "all => all.map(e => e.scrollLeft)"
    assert set(page.eval_on_selector_all("div.math, mjx-container[display=true]", starts)) <= {0}


@each
def test_every_slider_position_changes_picture_and_text(visit, name):
    page = visit(name)
    for i in range(page.locator(".fx").count()):
        box = page.locator(".fx").nth(i)
        picture = box.locator("img")
        for j in range(box.locator("input").count()):
            slider = box.locator("input").nth(j)
            slider.focus()
            slider.press("Home")
            seen = {picture.get_attribute("src")}
            for position in range(1, int(slider.get_attribute("max")) + 1):
                before = slider.get_attribute("aria-valuetext")
                slider.press("ArrowRight")
                assert slider.input_value() == str(position)
                assert slider.get_attribute("aria-valuetext") != before
                assert slider.get_attribute("aria-valuetext") in picture.get_attribute("alt")
                seen.add(picture.get_attribute("src"))
            assert len(seen) == int(slider.get_attribute("max")) + 1, "a position without effect"


@each
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_accessibility_violation(visit, name, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = visit(name, scheme=scheme)
    found = Axe().run(page, options={"preload": False}).response["violations"]
    serious = [
        (v["id"], [node["html"][:120] for node in v["nodes"][:3]])
        for v in found
        if v["impact"] in ("serious", "critical")
    ]
    assert serious == []


@each
def test_links_between_pages_resolve(visit, name):
    page = visit(name)
    links = page.eval_on_selector_all("article a[href], nav a[href]", "all => all.map(a => a.href)")
    local = {link.split("#")[0] for link in links if "127.0.0.1" in link}
    for link in local:
        assert page.request.get(link).ok, link
