"""Code out of the way: what a figure was drawn with is folded below it, once per figure.

A run of cells tagged ``hide-input`` that ends in an output is one fold below that output. The cell
of imports is one fold at the end of the chapter's head; checkers of exercises stay in the notebook.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

FIGURE = re.compile(r"\bpage\.(show|explore|table)\(")
WIDEST = 100  # a longer line is a sentence
FOLD = '<details class="code"><summary>{}</summary>'


class FoldCells(SphinxPostTransform):
    """Before myst-nb folds in its own way (199)."""

    default_priority = 198
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        cells = [c for c in self.document.findall(nodes.container) if is_code(c)]
        for cell in cells:
            if "tag_exercise-check" in cell["classes"]:
                cell.parent.remove(cell)
            elif "tag_imports" in cell["classes"]:
                to_end_of_head(cell)
        for run in runs([c for c in cells if folded(c)]):
            fold(run)
        for block in self.document.findall(nodes.literal_block):
            if "output" in block["classes"] and in_columns(block.astext()):
                block["classes"].append("columns")


def is_code(node: nodes.Node) -> bool:
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"


def source(cell: nodes.container) -> Any:
    return next((n for n in cell if n.get("nb_element") == "cell_code_source"), None)


def outputs(cell: nodes.container) -> Any:
    return next((n for n in cell if n.get("nb_element") == "cell_code_output"), None)


def folded(cell: nodes.container) -> bool:
    """Whether the reader is spared the code: by its tag, or because it draws."""
    code = source(cell)
    gone = cell.parent is None or code is None or "tag_imports" in cell["classes"]
    return not gone and (cell.get("hide_mode") == "input" or bool(FIGURE.search(code.astext())))


def in_columns(text: str) -> bool:
    """Lines that are read one below the other, so that a narrow page must not break them."""
    lines = text.rstrip().splitlines()
    return sum("  " in line.strip() for line in lines) > 1 and max(map(len, lines)) <= WIDEST


def runs(cells: list[nodes.container]) -> list[list[nodes.container]]:
    """Neighbours belong together up to the first with an output, which is what they lead to."""
    found: list[list[nodes.container]] = []
    for cell in cells:
        last = found[-1][-1] if found else None
        parent = cell.parent
        near = last is not None and last.parent is parent
        if near and parent.index(cell) == parent.index(last) + 1 and outputs(last) is None:
            found[-1].append(cell)
        else:
            found.append([cell])
    return found


def fold(run: list[nodes.container]) -> None:
    """The last cell keeps its output, and below it the code of all."""
    *others, last = run
    codes = [source(cell) for cell in run]
    shown = outputs(last)
    for cell in others:
        cell.parent.remove(cell)
    drawn = any(FIGURE.search(code.astext()) for code in codes)
    tabled = "page.table(" in codes[-1].astext()
    if last.attributes.pop("hide_mode", None):
        last["classes"] = [c for c in last["classes"] if c != "tag_hide-input"]
    last.children = []
    last += [
        *([shown] if shown else []),
        *details(f"Code of this {'table' if tabled else 'figure'}" if drawn else "Code", codes),
    ]


def details(title: str, inside: list[Any]) -> list[nodes.Node]:
    opening = nodes.raw("", FOLD.format(title), format="html")
    return [opening, *inside, nodes.raw("", "</details>", format="html")]


def to_end_of_head(cell: nodes.container) -> None:
    """Below goals and prerequisites, folded."""
    code, parent = source(cell), cell.parent
    if code is None:
        return
    cell.attributes.pop("hide_mode", None)
    cell.children = []
    cell += details("Set-up of this page", [code])
    first = next((n for n in parent.children if isinstance(n, nodes.section)), None)
    parent.remove(cell)
    parent.insert(parent.index(first) if first else len(parent.children), cell)


def connect(app: Any) -> None:
    app.add_post_transform(FoldCells)
