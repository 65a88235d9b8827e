"""A server for the built pages, a browser, and a page that reports what goes wrong in it."""

import functools
import http.server
import os
import threading

import pytest
from pages import CHROMIUM, FLAGS, NAMES, PAGES, Quiet


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

    def open_page(name, width=1200, scheme="light", height=900, motion="reduce", scripts=True):
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion=motion,
            java_script_enabled=scripts,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: troubles.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: troubles.append(str(e)))
        page.on(
            "request",
            lambda r: (
                None if r.url.startswith((address, "data:", "blob:")) else troubles.append(r.url)
            ),
        )
        page.goto(f"{address}/{name}", wait_until="load")
        if not scripts:
            return page
        page.wait_for_function("window.MathJax === undefined || !!MathJax.startup.promise")
        page.evaluate("window.MathJax && MathJax.startup.promise")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []
