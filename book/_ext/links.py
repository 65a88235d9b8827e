"""Every mention of a chapter, statement, equation or exercise is a link to it.

The notebooks say "Theorem 3.3" or "(7.2)" in plain words, so that they read the same everywhere;
``number`` knows what a mention is and which heading it means. A statement's number is in the index
as well, hence the search finds "Lemma 4.1" where it stands. ``mentions.js`` has the boxes that a
link shows when it is pointed at.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from bs4 import BeautifulSoup
from docutils import nodes
from sphinx.addnodes import index

ROOT = Path(__file__).resolve().parents[2]
KEPT = (nodes.title, nodes.reference, nodes.FixedTextElement, nodes.literal, nodes.math_block)
HEADS = ["h1", "h2", "h3", "h4", "summary"]
QUIET = [*HEADS, "a", "script", "style", "pre", "code", "svg", "button", "option"]
BOXES = "mentions.js"
GLOSSARY = "book/glossary.ipynb"
INDEX = ' By name, with every statement: <a href="../genindex.html">the index</a>.'


def _module() -> Any:
    """``evidence.number`` without the rest of the evidence, which would bring torch."""
    name = "book_numbers"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "book/evidence/number.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


numbers = _module()


@cache
def known() -> dict[tuple[str, str], Any]:
    """Key of a mention → its target."""
    contents = (ROOT / numbers.TOC).read_text("utf-8")
    names = [f"{name}.ipynb" for name in re.findall(r"(?:root|file):\s*(\S+)", contents)]
    files = {n: (ROOT / n).read_text("utf-8") for n in names if (ROOT / n).exists()}
    return {t.key: t for t in numbers.targets(files | {numbers.TOC: contents}) if t.number}


def anchor(target: Any) -> str:
    """The id on the page; "" for a chapter, which is a page."""
    if target.kind == "Chapter":
        return ""
    number = target.number.replace(".", "-")
    return f"equation-{number}" if target.kind == "Equation" else target.anchor


def address(target: Any, page: str) -> str:
    """What a link says on ``page``, the name of a notebook without its ending."""
    path = target.path.removesuffix(".ipynb")
    fragment = f"#{found}" if (found := anchor(target)) else ""
    up = "../" * page.count("/")
    return fragment if path == page and fragment else f"{up}{path}.html{fragment}"


def linked(text: str) -> Iterator[tuple[str, Any]]:
    """The text in pieces, each with its target or None; together they are the text."""
    at = 0
    for mention in numbers.mentions(text):
        for i, (key, (start, end)) in enumerate(zip(mention.keys, mention.spans, strict=True)):
            target = known().get(key)
            if target is None or target.kind != mention.kind:
                continue
            if mention.kind == "Equation":
                start, end = start - 1, end + 1
            elif i == 0 and (word := re.search(rf"\w+{numbers.SPACE}$", text[:start])):
                start = word.start()
            if part := re.match(r"\s?\([a-z]\)", text[end:]):
                end += part.end()
            yield text[at:start], None
            yield text[start:end], target
            at = end
    yield text[at:], None


def mark_equations(app: Any, doctree: nodes.document) -> None:
    """A numbered equation gets an id, and a link to itself beside it."""
    for block in list(doctree.findall(nodes.math_block)):
        found = re.search(r"\\tag\{(\d+\.\d+[a-z]?)\}", block.astext())
        if found is None:
            continue
        name = "equation-" + found[1].replace(".", "-")
        link = (
            f'<a class="headerlink equation-link" href="#{name}" '
            f'aria-label="Link to equation ({found[1]})">#</a>'
        )
        box = nodes.container(classes=["equation"], ids=[name])
        block.replace_self(box)
        box += [block, nodes.raw("", link, format="html")]


def index_statements(app: Any, doctree: nodes.document) -> None:
    """ "Lemma 4.1" is where the search looks; by its name it stands on the index's page."""
    targets = {(t.path, t.anchor): t for t in known().values() if t.kind != "Chapter"}
    path, named = f"{app.env.docname}.ipynb", []
    for section in list(doctree.findall(nodes.section)):
        target = next((targets[path, i] for i in section["ids"] if (path, i) in targets), None)
        if target is None:
            continue
        number = f"{target.kind} {target.number}"
        name = re.sub(r"^(A|An|The) (.+)$", r"\2, \1", target.title.replace("$", ""))
        entries = [("single", number, section["ids"][0], "main", None)]
        section.insert(1, index(entries=entries))
        if target.kind != "Exercise" and name:
            named.append(("single", f"{name}; {number}", section["ids"][0], "", None))
    if path == GLOSSARY:
        named += _words(doctree)
    # the index has read this page before its nodes were there
    app.env.get_domain("index").entries.setdefault(app.env.docname, []).extend(named)


def _words(doctree: nodes.document) -> list[tuple[str, str, str, str, None]]:
    """The glossary's words, each a place to link to; its first paragraph leads to the index."""
    found = []
    for item in doctree.findall(nodes.list_item):
        word = next(iter(item.findall(nodes.strong)), None)
        if word is not None:
            name = word.astext().rstrip(".")
            item["ids"].append(nodes.make_id(f"word {name}"))
            found.append(("single", name, item["ids"][-1], "", None))
    first = next(iter(doctree.findall(nodes.paragraph)))
    first += nodes.raw("", INDEX, format="html")
    return found


def link_mentions(app: Any, doctree: nodes.document, page: str) -> None:
    """In the text, and in tables and captions that cells have made."""
    if app.builder.format != "html":
        return
    for text in list(doctree.findall(nodes.Text)):
        parents, node = [], text.parent
        while node is not None:
            parents.append(node)
            node = node.parent
        if any(isinstance(p, KEPT) for p in parents) or isinstance(text.parent, nodes.raw):
            continue
        pieces = list(linked(str(text)))
        if len(pieces) > 1:
            text.parent.replace(text, [_node(piece, target, page) for piece, target in pieces])
    for raw in doctree.findall(nodes.raw):
        if raw.get("format") == "html" and numbers.MENTION.search(raw.astext()):
            raw.children[:] = [nodes.Text(link_html(raw.astext(), page))]


def _node(piece: str, target: Any, page: str) -> nodes.Node:
    if target is None:
        return nodes.Text(piece)
    found = nodes.reference(
        "", piece, refuri=address(target, page), internal=True, classes=["mention"]
    )
    return found


def link_html(text: str, page: str) -> str:
    """The same for a piece of HTML: mentions outside links, code and headings."""
    soup = BeautifulSoup(text, "html.parser")
    for string in list(soup.find_all(string=True)):
        if type(string).__name__ != "NavigableString" or string.find_parent(QUIET):
            continue
        pieces = [(piece, target) for piece, target in linked(str(string)) if piece]
        if any(target for _, target in pieces):
            string.replace_with(*(_tag(soup, piece, target, page) for piece, target in pieces))
    return str(soup)


def _tag(soup: BeautifulSoup, piece: str, target: Any, page: str) -> Any:
    if target is None:
        return soup.new_string(piece)
    link = soup.new_tag("a", href=address(target, page), attrs={"class": "mention"})
    link.string = piece
    return link


def write_boxes(app: Any, error: Exception | None) -> None:
    """``mentions.js``: what stands behind each link, read from the built pages."""
    if error or app.builder.format != "html":
        return
    boxes = {}
    for page in sorted({t.path.removesuffix(".ipynb") for t in known().values()}):
        soup = BeautifulSoup((Path(app.outdir) / f"{page}.html").read_text("utf-8"), "html.parser")
        inside = [t for t in known().values() if t.path == f"{page}.ipynb"]
        for target in inside:
            if (text := _box(soup, target)) is not None:
                boxes[f"{page}.html#{anchor(target)}".rstrip("#")] = text
    script = f"window.bookMentions = {json.dumps(boxes, ensure_ascii=False)};\n"
    (Path(app.outdir) / "_static" / BOXES).write_text(script, encoding="utf-8")


def _box(soup: BeautifulSoup, target: Any) -> str | None:
    """Title and statement, an equation, the beginning of an exercise or of a chapter."""
    if target.kind == "Equation":
        found = soup.find(id=anchor(target))
        return str(found.find(class_="math")) if found else None
    name = f"{target.kind} {target.number}"
    if target.kind == "Chapter":
        first = soup.select_one("article section > p")
        return f"<b>{name}. {target.title}</b>{_plain(first)}"
    section = soup.find(id=target.anchor)
    if section is None:
        return None
    if target.kind == "Exercise":  # its first paragraph is level, minutes and kind
        body = next((p for p in section("p") if not p.get_text().startswith("★")), None)
    else:
        body = section.find("blockquote")
    title = section.find(["h3", "h4"])
    inner = "" if body is None else _plain(body)
    return f"<b>{_plain(title).strip()}</b>{inner}"


def _plain(tag: Any) -> str:
    """Without links and ids, which would exist twice."""
    if tag is None:
        return ""
    for link in tag.find_all("a"):
        link.decompose() if "headerlink" in link.get("class", []) else link.unwrap()
    for inner in tag.find_all(id=True):
        del inner["id"]
    return f"<p>{tag.decode_contents()}</p>" if tag.name == "p" else tag.decode_contents()


def connect(app: Any) -> None:
    app.connect("doctree-read", mark_equations)
    app.connect("doctree-read", index_statements)
    app.connect("doctree-resolved", link_mentions)
    app.connect("build-finished", write_boxes)
