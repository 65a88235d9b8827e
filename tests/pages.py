"""The built pages, and the browser that the tests open them in."""

import http.server
import shutil
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
