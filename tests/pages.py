"""The built pages, and the browser that the tests open them in."""

import http.server
import shutil
from contextlib import contextmanager
from pathlib import Path

PAGES = Path(__file__).parents[1] / "_build" / "html"
CHROMIUM = next(
    (p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))),
    None,
)
QUIET = ("gpu", "quic", "sync", "background-networking", "component-update")
FLAGS = ["--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in QUIET)]
NAMES = sorted(str(p.relative_to(PAGES)) for p in PAGES.glob("book/*.html"))


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """No line per request."""


@contextmanager
def opening(browser, address):
    """A function that opens a page; at the end no console error and no foreign request is left."""
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
        page.evaluate("window.MathJax?.startup.promise")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []
