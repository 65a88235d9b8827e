"""A server for the built pages, a browser, and a page that reports what goes wrong in it."""

import functools
import http.server
import os
import threading

import pytest
from pages import CHROMIUM, FLAGS, NAMES, PAGES, Quiet, opening


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
    with opening(browser, address) as open_page:
        yield open_page


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items):
    """What looks at one page runs in one process, which opens the page once."""
    for item in items:
        name = getattr(item, "callspec", None) and item.callspec.params.get("name")
        if name in NAMES:
            item.add_marker(pytest.mark.xdist_group(name))
