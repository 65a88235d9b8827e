"""What a published page needs: description and card, canonical address, sitemap, 404, footer.

The address of the site is BOOK_URL, or where GitHub shows the pages of GITHUB_REPOSITORY; without
either there is no canonical address and no sitemap, since no address is invented.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes

from environment import ROOT

CARD = "_static/page.webp"
LONGEST = 200  # letters of a description
GONE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>No such page · {title}</title>
<style>body {{ font: 1.1rem/1.6 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto;
padding: 0 1rem; color-scheme: light dark; }}</style>
<h1>No such page</h1><p>Chapters keep their names and may change their numbers. The
<a href="{home}">first page</a> has all of them, and a search.</p>
"""


def site() -> str:
    """The address of the pages, with a slash at its end; "" when unknown."""
    if given := os.environ.get("BOOK_URL"):
        return given.rstrip("/") + "/"
    owner, _, name = os.environ.get("GITHUB_REPOSITORY", "").partition("/")
    return f"https://{owner.lower()}.github.io/{name}/" if name else ""


def citation(root: Path = ROOT) -> dict[str, str]:
    """Version and date, as CITATION.cff has them."""
    text = (root / "CITATION.cff").read_text("utf-8")
    return dict(re.findall(r'^(version|date-released|title): "?(.*?)"?$', text, re.M))


def configure(app: Any, config: Any) -> None:
    known = citation(Path(app.srcdir))
    config.html_baseurl = site()
    config.html_theme_options["extra_footer"] = (
        f"<p>Version {known['version']}, {known['date-released']}. "
        '<a href="about.html#version-licence-citation">Cite this book</a> · '
        '<a href="about.html#errata">Errata</a></p>'
    )


def brief(doctree: nodes.document | None) -> str:
    """The answer in brief, or the first paragraph, as plain words."""
    paragraphs = [p.astext() for p in doctree.findall(nodes.paragraph)] if doctree else []
    answers = [p for p in paragraphs if p.startswith("Answer in brief.")]
    text = " ".join((answers or paragraphs or [""])[0].removeprefix("Answer in brief.").split())
    text = re.sub(r"\\[a-z]+|[{}$\\]", "", text).strip()
    return text if len(text) <= LONGEST else text[:LONGEST].rpartition(" ")[0] + " …"


def describe(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Description and preview card."""
    if doctree is None:
        return
    title = re.sub("<.*?>", "", context.get("title", ""))
    told = {"og:title": title, "og:description": brief(doctree), "og:type": "article"}
    if address := site():
        told |= {"og:url": f"{address}{page}.html", "og:image": address + CARD}
    tags = [f'<meta property="{k}" content="{html.escape(v)}">' for k, v in told.items()]
    tags.append(f'<meta name="description" content="{html.escape(told["og:description"])}">')
    context["metatags"] = "\n".join([context.get("metatags", ""), *tags])


def edit_the_source(app: Any, page: str, template: str, context: dict[str, Any], doc: Any) -> None:
    """Notebooks are opened from the branch BOOK_BRANCH, and edited where they come from."""
    made, source = os.environ.get("BOOK_BRANCH"), os.environ.get("GITHUB_REF_NAME") or "main"
    for button in _flat(context.get("header_buttons", [])):
        if made and "url" in button:
            button["url"] = button["url"].replace(f"/edit/{made}/", f"/edit/{source}/")


def _flat(buttons: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for button in buttons:
        yield button
        yield from _flat(button.get("buttons", []))


def finish(app: Any, error: Exception | None) -> None:
    """The page for what is not there, and the list of what is."""
    if error or app.builder.format != "html":
        return
    out, address = Path(app.outdir), site()
    title = citation(Path(app.srcdir))["title"]
    home = f"{address}book/intro.html" if address else "/book/intro.html"
    (out / "404.html").write_text(GONE.format(title=title, home=home), encoding="utf-8")
    (out / ".nojekyll").touch()
    if address:
        places = "".join(
            f"<url><loc>{address}{page}.html</loc></url>\n" for page in sorted(app.env.found_docs)
        )
        head = '<?xml version="1.0" encoding="UTF-8"?>\n'
        urls = f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{places}</urlset>\n'
        (out / "sitemap.xml").write_text(head + urls, encoding="utf-8")
        (out / "robots.txt").write_text(f"User-agent: *\nSitemap: {address}sitemap.xml\n", "utf-8")


def connect(app: Any) -> None:
    app.connect("config-inited", configure, priority=901)
    app.connect("html-page-context", describe, priority=800)
    app.connect("html-page-context", edit_the_source, priority=950)
    app.connect("build-finished", finish)
