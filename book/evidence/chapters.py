"""The chapters in the order of the table of contents: one folder each, named as its notebook."""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

HERE = Path(__file__).parent
SHARED = ("laboratory", "checked")  # modules of the floor that register an experiment


@cache
def pages() -> list[tuple[str, str]]:
    """("13_", "depth") for the page book/17_depth, ("", "ledger") for book/ledger."""
    toc = HERE.parents[1] / "_toc.yml"
    if not toc.exists():
        raise ValueError(f"{toc} gives the chapters their order, and it is not there; restore it")
    return re.findall(r"^ *- file: book/(\d+[a-z]?_)?(\w+)$", toc.read_text("utf-8"), re.M)


def order() -> list[str]:
    """The topics that have a folder here, in the order of the book."""
    return [topic for _, topic in pages() if (HERE / topic).is_dir()]


def number(topic: str) -> int:
    """The number of a chapter; ValueError for a topic that is not one."""
    numbered = [name for prefix, name in pages() if prefix]
    if topic not in numbered:
        raise ValueError(f"topic must be a chapter, {', '.join(numbered)}; got {topic!r}")
    return numbered.index(topic) + 1


def calling() -> str:
    """The topic of the module that called the caller of this function; "" outside the chapters."""
    package, *inner = sys._getframe(2).f_globals["__name__"].split(".")
    return inner[0] if package == "evidence" and len(inner) > 1 else ""


def gather() -> None:
    """Import whatever makes a statement, an experiment or a claim, in the order of the chapters."""
    for topic in order():
        for path in sorted((HERE / topic).glob("[!_]*.py")):
            import_module(f"evidence.{topic}.{path.stem}")
    for name in SHARED:
        import_module(f"evidence.{name}")
