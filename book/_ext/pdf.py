"""``make pdf``: each page as a PDF, and all of them in one with contents and working links.

Chromium prints the built pages; the style sheet's print section decides how they look.
"""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from pathlib import Path
from typing import Any

from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, NameObject, NullObject

from environment import ROOT, chapters

PAGES = ROOT / "_build/html"
BOOK = "subspaces-through-a-network.pdf"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FORMULAS = "window.MathJax && MathJax.startup.promise"
FOLDS = "document.querySelectorAll('details.proof').forEach((fold) => { fold.open = true; })"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        """No line per request."""


def print_pages(names: list[str], folder: Path) -> str:
    """One file per page; returns the address under which they were printed."""
    from playwright.sync_api import sync_playwright

    chromium = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if chromium is None:
        raise SystemExit(f"Printing needs a browser, one of {', '.join(BROWSERS)}; install one.")
    handler = functools.partial(Quiet, directory=str(PAGES))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name in names:
            page = browser.new_page(color_scheme="light")
            page.goto(f"{address}/book/{name}.html", wait_until="load")
            page.evaluate(FORMULAS)
            page.evaluate(FOLDS)
            target = folder / f"{name}.pdf"
            page.pdf(path=target, prefer_css_page_size=True, print_background=True, outline=True)
            page.close()
            print(f"  {name}")
        browser.close()
    server.shutdown()
    return address


def bind(names: list[str], folder: Path, address: str) -> None:
    """All pages in one file: a bookmark for each, and links that lead from one to another."""
    writer, first = PdfWriter(), dict[str, int]()
    for name in names:
        first[name] = len(writer.pages)
        reader = PdfReader(folder / f"{name}.pdf")
        writer.append(reader, outline_item=title(name), import_outline=True)
    for page in writer.pages:
        for reference in page.get("/Annots", ()):
            link = reference.get_object()
            target = link.get("/A", {}).get("/URI", "")
            name = Path(target.removeprefix(f"{address}/book/").split("#")[0]).stem
            if target.startswith(address) and name in first:
                link[NameObject("/A")] = jump(writer, first[name])
    writer.write(folder / BOOK)


def jump(writer: PdfWriter, number: int) -> DictionaryObject:
    place = [writer.pages[number].indirect_reference, NameObject("/XYZ"), *[NullObject()] * 3]
    return DictionaryObject(
        {NameObject("/S"): NameObject("/GoTo"), NameObject("/D"): ArrayObject(place)}
    )


def title(name: str) -> str:
    from bs4 import BeautifulSoup

    soup = BeautifulSoup((PAGES / f"book/{name}.html").read_text("utf-8"), "html.parser")
    heading = soup.select_one("article h1")
    return name if heading is None else heading.get_text().rstrip("#").strip()


def main() -> None:
    names = [path.stem for path in chapters(ROOT)]
    if missing := [name for name in names if not (PAGES / f"book/{name}.html").exists()]:
        raise SystemExit(f"No page of {', '.join(missing)} yet: run `make book` first.")
    folder = PAGES / "pdf"
    folder.mkdir(exist_ok=True)
    bind(names, folder, print_pages(names, folder))
    print(f"The book on paper: {folder / BOOK}")


if __name__ == "__main__":
    main()
