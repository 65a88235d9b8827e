"""Boxes around statements, folds around proofs."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import index

KINDS = "Definition|Lemma|Theorem|Proposition|Corollary|Counterexample"
OPENING = '<details class="proof" open><summary>{}</summary>'


def box_statements(app: Any, doctree: nodes.document) -> None:
    """The quotation below a heading such as "Theorem 3.3 (Wedin)" is that statement's body."""
    for section in doctree.findall(nodes.section):
        title = section.next_node(nodes.title)
        found = re.match(rf"({KINDS}) \d+\.\d+", title.astext()) if title else None
        quote = next((n for n in section.children if isinstance(n, nodes.block_quote)), None)
        if found and quote is not None:
            quote["classes"] += ["statement", found[1].lower()]
            between = section.children[1 : section.index(quote)]
            if all(isinstance(n, (index, nodes.target)) for n in between):
                section["classes"] += ["boxed", found[1].lower()]  # the heading is its label


def fold_proofs(app: Any, doctree: nodes.document) -> None:
    """From **Proof.** to ∎: open, and closed by one switch for the whole book."""
    for first in list(doctree.findall(nodes.paragraph)):
        label = first.children[0] if first.children else None
        if not isinstance(label, nodes.strong) or not label.astext().startswith("Proof"):
            continue
        parent = first.parent
        start = parent.index(first)
        end = next((i for i in range(start, len(parent)) if "∎" in parent[i].astext()), None)
        if end is None:
            continue
        title = label.astext().rstrip(".")
        first.remove(label)
        if first.children and isinstance(first[0], nodes.Text):
            first.replace(first[0], nodes.Text(first[0].lstrip(". ")))
        inside = parent.children[start : end + 1]
        opening = nodes.raw("", OPENING.format(title), format="html")
        closing = nodes.raw("", "</details>", format="html")
        parent.children[start : end + 1] = []
        parent[start:start] = [opening, *inside, closing]


def connect(app: Any) -> None:
    app.connect("doctree-read", box_statements)
    app.connect("doctree-read", fold_proofs)
