"""What every page has: the map of the chain at its head, asides, commas that stay in their line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes

from environment import chapters

# the chain, and the chapter of each link
CHAIN = (
    ("X*", ""),
    ("noise", "denoising"),
    ("X", ""),
    ("weights", "linear_maps"),
    ("WX", ""),
    ("activation", "activations"),
    ("Y", ""),
)
EVERY = ("noise", "weights", "activation")
# what a chapter is about
LIT = {
    "unions_of_subspaces": ("X*",),
    "projector": ("X*",),
    "row_spaces_move": ("noise",),
    "denoising": ("noise",),
    "linear_maps": ("weights",),
    "activations": ("activation",),
    "theorem": EVERY,
    "reference": EVERY,
    "entry_by_entry": EVERY,
    "from_what_is_observed": ("X",),
    "certified_labels": ("X", "Y"),
    "random_relu": ("weights", "activation"),
    "training": ("weights",),
    "gates": ("activation",),
    "nonnegative": ("weights",),
    "objective": ("weights",),
    "depth": EVERY,
    "activations_recurrence": ("activation",),
    "convolution": ("weights",),
    "attention": ("weights",),
    "real_data": ("X*",),
    "nonnegative_features": ("X*",),
    "clustering": ("X",),
    "diagnostic": ("Y",),
    "diagnostic_theory": ("Y",),
    "self_expression": ("X",),
    "relations": ("Y",),
}
QUOTES = {"The paper says.": "paper", "Aside.": "aside"}
OPENS = re.compile(r"[(\[“–]+$")
CLOSES = re.compile(r"^[.,;:!?)\]”’]+|^[-–]")
SHORT = 25  # characters of a formula that is narrower than any column


def draw_map(app: Any, doctree: nodes.document) -> None:
    """X* → X → WX → Y below the title, what the chapter is about lit."""
    found = re.match(r"book/\d\d_(\w+)", app.env.docname)
    title = doctree.next_node(nodes.title)
    if not found or title is None:
        return
    lit = LIT[found[1]]
    pages = {path.stem[3:]: path.stem for path in chapters(Path(app.srcdir))}
    parts = []
    for name, topic in CHAIN:
        text = f'<a href="{pages[topic]}.html">{name}</a>' if topic in pages else name
        text = text.replace("X*", "X<sup>∗</sup>")
        here = " lit" if name in lit else ""
        parts.append(
            f'<li class="link{here}">{text}</li>'
            if topic
            else f'<li class="stop{here}">{text}</li>'
        )
    said = f"The chain of this book; this chapter is about {' and '.join(lit)}"
    text = f'<ul class="chain" aria-label="{said}">{"".join(parts)}</ul>'
    title.parent.insert(title.parent.index(title) + 1, nodes.raw("", text, format="html"))


def name_quotes(app: Any, doctree: nodes.document) -> None:
    """A quotation that begins "The paper says." or "Aside." is one."""
    for quote in doctree.findall(nodes.block_quote):
        first = quote.next_node(nodes.strong)
        if first is not None and quote.astext().startswith(first.astext()):
            quote["classes"] += [QUOTES[t]] if (t := first.astext()) in QUOTES else []


def hold_punctuation(app: Any, doctree: nodes.document) -> None:
    """To a browser a formula is a picture, after which a line may end: not before its comma."""
    for formula in list(doctree.findall(nodes.math)):
        if len(formula.astext()) > SHORT:
            continue
        around, i = formula.parent, formula.parent.index(formula)
        before, after = (_text(around, j) for j in (i - 1, i + 1))
        opens, closes = OPENS.search(before), CLOSES.search(after)
        if not opens and not closes:
            continue
        left, right = opens[0] if opens else "", closes[0] if closes else ""
        held = nodes.inline("", "", nodes.Text(left), formula, nodes.Text(right), classes=["held"])
        around[i] = held
        if closes:
            around[i + 1] = nodes.Text(after[len(right) :])
        if opens:
            around[i - 1] = nodes.Text(before[: len(before) - len(left)])


def _text(around: Any, i: int) -> str:
    here = around[i] if 0 <= i < len(around) else None
    return str(here) if isinstance(here, nodes.Text) else ""


def connect(app: Any) -> None:
    app.connect("doctree-read", draw_map)
    app.connect("doctree-read", hold_punctuation)
    app.connect("doctree-read", name_quotes)
