"""Sphinx extension: environment of the kernels, launch buttons, what makes pages of notebooks."""

from __future__ import annotations

import html
import os
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import cells
import editions
import furniture
import links
import publish
import statements
from environment import cache_path, prepare, repository, results_folder


def configure(app: Any, config: Any) -> None:
    config.nb_execution_cache_path = str(cache_path(Path(app.srcdir)))
    theme = config.html_theme_options
    theme["navbar_persistent"] = []  # or the theme adds a second search box
    folder = results_folder(Path(app.srcdir)).resolve()
    if folder != Path(app.srcdir, "book/results").resolve():
        name = html.escape(folder.name)
        theme["announcement"] = f"Made from the results in “{name}”, not from the book's own."
    if found := repository(Path(app.srcdir)):
        theme["repository_url"], theme["repository_branch"] = found
        for button in ("repository", "edit_page", "issues"):
            theme[f"use_{button}_button"] = True
        if not os.environ.get("BOOK_BRANCH"):  # no branch with stamped notebooks to open
            theme.pop("launch_buttons", None)
    else:  # unknown: no buttons, no dead links
        theme.pop("launch_buttons", None)
        for button in ("repository", "edit_page", "issues"):
            theme[f"use_{button}_button"] = False
        theme["repository_url"] = ""


def number_chapter(app: Any, docname: str, source: list[str]) -> None:
    """The number in a chapter's file name, before its title: the one that statements carry too."""
    number = re.match(r"book/(\d\d)_", docname)
    if number:
        first = r'"# (?=[^#])'  # the title opens the first cell of the notebook's JSON
        source[0] = re.sub(first, f'"# {int(number[1])}. ', source[0], count=1)


def drop_thebe(
    app: Any,
    page: str,
    template: str,
    context: dict[str, Any],
    doctree: Any,
) -> None:
    """The theme always loads thebe, which declares its constants twice and calls a third party."""

    def is_thebe(script: Any) -> bool:
        text = f"{getattr(script, 'filename', script)} {getattr(script, 'attributes', '')}"
        return "thebe" in text.lower()

    for kind in ("script_files", "css_files"):
        context[kind] = [item for item in context.get(kind, []) if not is_thebe(item)]


def copy_mathjax(app: Any, error: Exception | None) -> None:
    """MathJax from our own pages: one script and its fonts of the 24 MB that the package holds."""
    found = find_spec("sphinx-mathjax-offline")
    if error or found is None or found.origin is None:
        return
    source, target = (
        Path(found.origin).parent / "static/mathjax",
        Path(app.outdir) / "_static/mathjax",
    )
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source / "tex-chtml-full.js", target)
    shutil.copytree(
        source / "output/chtml/fonts",
        target / "output/chtml/fonts",
        dirs_exist_ok=True,
    )


def part_fonts(app: Any, error: Exception | None) -> None:
    """The theme's icon fonts in a style sheet without widths.

    Beside rules for widths, Chromium takes fonts for new at each of them, and lays out all formulas
    of a page again when a phone is turned.
    """
    styles = Path(app.outdir) / "_static/styles"
    sheet = styles / "pydata-sphinx-theme.css"
    if error or not sheet.exists():
        return
    text = sheet.read_text("utf-8")
    if fonts := re.findall(r"@font-face\{[^}]*\}", text):
        with (styles / "theme.css").open("a", encoding="utf-8") as other:
            other.write("\n" + "\n".join(fonts) + "\n")
        sheet.write_text(re.sub(r"@font-face\{[^}]*\}", "", text), "utf-8")


def drop_old_pages(app: Any, error: Exception | None) -> None:
    """A chapter that left the table of contents takes its page with it."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    for page in (*out.glob("book/*.html"), *out.glob("_sources/book/*")):
        if f"book/{page.name.partition('.')[0]}" not in app.env.found_docs:
            page.unlink()


def pages_depend_on() -> dict[str, Any]:
    """What changes other pages than its own: where it differs, Sphinx reads them all again."""
    targets = sorted(f"{key} {t.title} {t.path}" for key, t in links.known().items())
    return {"edition": editions.edition(), "targets": targets}


def setup(app: Any) -> dict[str, Any]:
    prepare(Path(app.srcdir))
    app.connect("config-inited", configure, priority=900)
    app.connect("source-read", number_chapter)
    app.connect("html-page-context", drop_thebe, priority=900)
    for room in (editions, publish, statements, furniture, links, cells):
        room.connect(app)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", part_fonts)
    app.connect("build-finished", drop_old_pages)
    for name, value in pages_depend_on().items():
        app.add_config_value(f"book_{name}", value, "env")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
