"""The laboratory's workbench: controls, drawings and cards that a script in the page moves."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from page.figures import chapter_number
from page.front import bundle

if TYPE_CHECKING:
    from IPython.display import HTML

ASSETS = Path(__file__).resolve().parents[1] / "assets"
ROWS = {
    "share_r1": "in the top 7",
    "share_r": "in the top 6",
    "loss": "loss",
    "negative_share": "negative pre-activations",
    "accuracy": "clusters found (stored)",
    "certified": "points proved (stored)",
}


@dataclass(frozen=True)
class Control:
    """values: what the setting may be; words: how each is written; kind: "buttons" or "range"."""

    key: str
    label: str
    values: tuple[Any, ...]
    words: tuple[str, ...]
    start: int = 0
    kind: str = "buttons"


def show(
    setup: Mapping[str, Any],
    controls: Sequence[Control],
    *,
    picture: str,
    extra: Sequence[Any],
    train: Callable[..., None],
    static: bool | None = None,
) -> Any:
    """The bench; last line of a cell. In the published page it needs neither kernel nor network.

    setup: what a run needs (``evidence.workbench.for_page``). picture: HTML of a figure, shown
    where no script runs and on paper. extra: settings off the grid with their medians.
    train: how a kernel trains (``page.workbench_live.Bench``). static: None asks BOOK_STATIC.
    """
    if not (os.environ.get("BOOK_STATIC") == "1" if static is None else static):
        from page.workbench_live import Bench

        return Bench(controls, train, rank=setup["rank"], steps=setup["steps"]).widget
    data = dict(setup) | {"axes": [asdict(c) for c in controls], "extra": list(extra)}
    blob = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    folder = ASSETS / "laboratory"
    rows = "".join(
        f'<tr data-row="{key}"><th scope="row">{name}</th><td></td><td></td><td></td></tr>'
        for key, name in ROWS.items()
    )
    bench = (folder / "bench.html").read_text("utf-8").replace("ROWS", rows)
    bench = bench.replace("CONTROLS", "".join(map(_control, controls)))
    start = bundle(folder / "laboratory.js", "start")
    worker = json.dumps(bundle(ASSETS / "trainer/worker.js")).replace("</", "<\\/")
    call = f'{start}(document.getElementById("workbench"), {worker})'
    return _html(
        f"<style>{(folder / 'laboratory.css').read_text('utf-8')}</style>"
        f'<div class="wb" id="workbench"><div class="wb-static">{picture}</div>'
        f'<div class="wb-bench">{bench}</div><script type="application/json">{blob}</script></div>'
        f'<script>addEventListener("DOMContentLoaded", () => {call});</script>'
    )


def _control(c: Control) -> str:
    label = html.escape(c.label)
    if c.kind == "range":
        return (
            f'<label class="wb-range" data-axis="{c.key}"><span>{label}</span>'
            f'<output>{html.escape(c.words[c.start])}</output><input type="range" min="0" '
            f'max="{len(c.values) - 1}" value="{c.start}"></label>'
        )
    buttons = "".join(
        f'<label><input type="radio" name="wb-{c.key}" value="{k}"'
        f"{' checked' if k == c.start else ''}><span>{html.escape(word)}</span></label>"
        for k, word in enumerate(c.words)
    )
    opening = f'<fieldset class="wb-buttons" data-axis="{c.key}"><legend>{label}</legend>'
    return f"{opening}<div>{buttons}</div></fieldset>"


def cards(setup: Mapping[str, Any], stored: Sequence[str]) -> HTML:
    """A card for each question: the options and, in a fold, the answer. stored: it in numbers."""
    made = []
    for q, (one, known) in enumerate(zip(setup["questions"], stored, strict=True)):
        options = "".join(
            f'<label><input type="radio" name="wb-question-{q}" disabled> '
            f"{html.escape(option)}</label>"
            for option in one["options"]
        )
        number, address = chapter_of(one["topic"])
        made.append(
            f'<article class="wb-card" data-question="{q}"><h3>Question {q + 1}</h3>'
            f"<p>{html.escape(one['text'])}</p>"
            f"<fieldset><legend>I predict</legend>{options}</fieldset>"
            '<button type="button" disabled>Set it for me ▶</button>'
            '<p class="wb-outcome" aria-live="polite"></p>'
            f"<details><summary>Answer</summary><p><b>{html.escape(known)}</b> "
            f'{html.escape(one["answer"])} <a href="{address}">Chapter {number}</a></p>'
            "</details></article>"
        )
    return _html(f'<div class="wb-cards">{"".join(made)}</div>')


def chapter_of(topic: str) -> tuple[int, str]:
    """Number and page of a chapter. Raises ValueError for a topic that the book does not have."""
    number = chapter_number(topic)
    found = sorted(ASSETS.parent.glob(f"[0-9][0-9]_{topic}.ipynb"))
    if number is None or not found:
        raise ValueError(f"topic must be a chapter of the table of contents, got {topic!r}")
    return number, found[0].with_suffix(".html").name


def _html(text: str) -> HTML:
    from IPython.display import HTML

    return HTML(text)
