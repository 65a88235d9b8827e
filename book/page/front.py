"""The front of the book: the live figure, doors, verdicts, cards. HTML from numbers, no more."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from IPython.display import HTML

BOOK = Path(__file__).resolve().parents[1]
SCRIPTS, STYLE = BOOK / "assets", BOOK / "assets/landing/landing.css"
DARKEST = 0.16  # as in hero.js
TRUTH = (0, 114, 178)
LAYERS = {"data": "data", "linear": "random W", "relu": "ReLU", "train": "ReLU, trained ▶"}
IMPORT = re.compile(r'^import \{([^}]*)\} from "([^"]+)";$', re.M)
EXPORT = re.compile(r"^export (?=(?:const|function|class) (\w+))", re.M)


def _html(text: str) -> HTML:
    from IPython.display import HTML

    return HTML(text)


@cache
def bundle(entry: Path, result: str = "") -> str:
    """A module and what it imports as one classic script: from disk no page loads a module.

    The modules keep to ``import {a, b as c} from "./x.js";`` at the start of a line and to
    ``export`` before const, function and class. Each becomes a function that returns its exports.
    result: the export of ``entry`` that the script evaluates to.
    """
    order: list[Path] = []

    def visit(path: Path) -> None:
        for _, name in IMPORT.findall(path.read_text("utf-8")):
            if (inner := (path.parent / name).resolve()) not in order:
                visit(inner)
        order.append(path)

    visit(entry.resolve())
    parts = [_module(path, order) for path in order]
    last = f"return m{len(order) - 1}.{result};" if result else ""
    return f'(() => {{ "use strict";\n{"".join(parts)}{last}\n}})()'


def _module(path: Path, order: Sequence[Path]) -> str:
    def given(found: re.Match[str]) -> str:
        number = order.index((path.parent / found[2]).resolve())
        return f"const {{{found[1].replace(' as ', ': ')}}} = m{number};"

    text = path.read_text("utf-8")
    names = ", ".join(EXPORT.findall(text))
    text = EXPORT.sub("", IMPORT.sub(given, text))
    return f"const m{order.index(path)} = (() => {{\n{text}\nreturn {{{names}}};\n}})();\n"


def packed(A: Any) -> dict[str, Any]:
    """A matrix for the script: its size and its entries as 32-bit numbers."""
    values = np.atleast_2d(np.asarray(A, dtype="<f4"))
    if np.ndim(A) == 1:
        values = values.T  # a bias is a column
    rows, cols = values.shape
    return {"rows": rows, "cols": cols, "data": base64.b64encode(values.tobytes()).decode()}


def opening(P: Any) -> str:
    """|P| as the script paints it: a picture for pages without scripts."""
    from PIL import Image

    size = np.sqrt(np.minimum(1, np.abs(np.asarray(P)) / DARKEST))
    pixels = np.empty((*size.shape, 4), dtype=np.uint8)
    pixels[..., :3], pixels[..., 3] = TRUTH, np.round(255 * size)
    buffer = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(buffer, "WEBP", lossless=True, method=6)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def hero(
    given: Mapping[str, Any],
    P: Any,
    numbers: Sequence[str],
    sentences: Mapping[str, str],
    noise: float,
) -> HTML:
    """The live figure.

    given: what hero.js reads. P: the projector of the opening state (data, ``noise`` in decibels).
    numbers: share kept and points found in the opening state. sentences: state → what is said; the
    first is the opening state's.
    """
    buttons = "".join(
        f'<button type="button" data-layer="{key}" aria-pressed="{str(key == "data").lower()}">'
        f"{name}</button>"
        for key, name in LAYERS.items()
    )
    rank, first = given["rank"], next(iter(sentences))
    said = "".join(
        f'<span data-when="{key}"{"" if key == first else " hidden"}>{html.escape(text)}</span>'
        for key, text in sentences.items()
    )
    alt = (
        "The projector of noisy data: three filled squares on the diagonal, one for each cluster, "
        "pale elsewhere."
    )
    worker = json.dumps(bundle(SCRIPTS / "trainer/worker.js")).replace("</", "<\\/")
    script = (
        f"{bundle(SCRIPTS / 'landing/hero.js', 'start')}"
        '(document.querySelector(".hero"), () => new Worker(URL.createObjectURL(new Blob('
        f'[{worker}], {{ type: "text/javascript" }}))));'
    )
    return _html(
        f"<style>{STYLE.read_text('utf-8')}</style>"
        '<div class="hero" role="region" aria-label="Live figure"><div>'
        f'<div class="hero-picture"><img src="{opening(P)}" alt="{alt}" width="{len(P)}" '
        f'height="{len(P)}"><canvas class="hero-canvas" role="img" width="{len(P)}" '
        f'height="{len(P)}"></canvas></div>'
        '<p class="hero-key">A dot for each pair of points, sorted by cluster: the stronger its '
        "colour, the more the layer holds the two together.</p></div><div>"
        '<div class="hero-controls">'
        '<div class="hero-row"><span id="hero-layer">The layer</span>'
        f'<div class="hero-choice" role="group" aria-labelledby="hero-layer">{buttons}</div></div>'
        '<div class="hero-row"><label for="hero-slider">Noise</label>'
        f'<input id="hero-slider" type="range" min="-30" max="5" value="{noise:g}">'
        '<output class="hero-noise" for="hero-slider"></output></div>'
        '<div class="hero-row"><span id="hero-rank">Look at</span>'
        '<div class="hero-choice" role="group" aria-labelledby="hero-rank">'
        f'<button type="button" data-rank="r" aria-pressed="true">r = {rank} directions</button>'
        '<button type="button" data-rank="more" aria-pressed="false">one more</button></div></div>'
        "</div>"
        '<dl class="hero-numbers">'
        f'<div><dd class="hero-kept">{numbers[0]}</dd><dt>of the structure kept</dt></div>'
        f'<div><dd class="hero-found">{numbers[1]}</dd><dt>of points rightly grouped</dt>'
        '</div><div><dd class="hero-steps">–</dd><dt>training steps, here</dt></div></dl>'
        f'<p class="hero-say" aria-live="polite">{said}</p>'
        '<noscript><p class="hero-key">With JavaScript this figure is alive: choose the layer, '
        "turn up the noise, train it.</p></noscript></div>"
        f'<script type="application/json">{json.dumps(given)}</script></section>'
        f"<script>{script}</script>"
    )


def doors(links: Mapping[str, str]) -> HTML:
    """Text → address; the first is where most readers go."""
    inside = "".join(f'<a href="{to}">{html.escape(text)}</a>' for text, to in links.items())
    return _html(f'<nav class="doors" aria-label="Where to begin">{inside}</nav>')


SIGNS = {
    "holds": ("holds", "✓", "hold"),
    "holds under conditions": ("conditional", "◐", "hold under conditions we name"),
    "vacuous": ("vacuous", "∅", "true, but empty at this size"),
    "undecided": ("undecided", "?", "undecided"),
    "fails": ("fails", "✗", "fail"),
}


def tiles(counts: Mapping[str, int]) -> HTML:
    """Verdict → how many claims have it; each leads to these claims in the ledger."""
    inside = "".join(
        f'<a class="{kind}" href="ledger.html#verdict={kind}"><b>{counts[verdict]}</b> '
        f'<span><i aria-hidden="true">{sign}</i> {words}</span></a>'
        for verdict, (kind, sign, words) in SIGNS.items()
        if counts.get(verdict)
    )
    total = sum(counts.values())
    return _html(
        f'<div class="tiles" role="region" aria-label="Verdicts"><p>{total} claims of the paper, '
        f"judged by one rule:</p>{inside}</div>"
    )


def cards(found: Sequence[tuple[str, str, str]]) -> HTML:
    """(title, picture, text of at most 25 words that names its chapter) each."""
    inside = "".join(
        f"<li>{picture}<h3>{html.escape(title)}</h3><p>{html.escape(text)}</p></li>"
        for title, picture, text in found
    )
    return _html(f'<ul class="cards">{inside}</ul>')


# Small pictures in a box of 120 × 60, in the colours of the book.

WIDE, HIGH = 120, 60


def _box(alt: str, inside: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{html.escape(alt)}" '
        f'fill="none" stroke-width="2" font-size="10">{inside}</svg>'
    )


def _colour(name: str) -> str:
    return f"var(--{name})"


def small_dots(alt: str, rows: Sequence[tuple[str, float, str]], low: float, high: float) -> str:
    """A line for each (label, value, colour), with a dot at its value between low and high."""
    step, parts = HIGH / len(rows), []
    for i, (label, value, colour) in enumerate(rows):
        y, x = step * (i + 0.68), 6 + (WIDE - 12) * (value - low) / (high - low)
        at = max(6.0, min(x, WIDE - 6))
        side = "start" if at < WIDE / 2 else "end"
        parts.append(
            f'<path d="M6 {y:.1f}H{WIDE - 6}" stroke="currentColor" stroke-opacity=".25"/>'
            f'<circle cx="{at:.1f}" cy="{y:.1f}" r="4" fill="{_colour(colour)}"/>'
            f'<text x="{at:.1f}" y="{y - 7:.1f}" text-anchor="{side}" fill="currentColor">{label}'
            "</text>"
        )
    return _box(alt, "".join(parts))


def small_curves(alt: str, curves: Sequence[tuple[str, Sequence[float], str]]) -> str:
    """Curves with values in [0, 1], each with its label at the end."""
    parts = []
    for label, values, colour in curves:
        x = np.linspace(6, 74, len(values))
        y = 54 - 46 * np.asarray(values, dtype=float)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        parts.append(
            f'<polyline points="{points}" stroke="{_colour(colour)}"/>'
            f'<text x="78" y="{y[-1] + 3:.1f}" fill="currentColor">{label}</text>'
        )
    return _box(
        alt, f'<path d="M6 6V54H74" stroke="currentColor" stroke-opacity=".3"/>{"".join(parts)}'
    )


def small_grid(alt: str, filled: Sequence[bool], colour: str) -> str:
    """A square for each case, filled where it is true."""
    columns = next(c for c in range(4, 40) if c * HIGH >= len(filled) * WIDE / c * 0.98)
    side = min(WIDE / columns, HIGH / -(-len(filled) // columns))
    parts = [
        f'<rect x="{side * (i % columns) + 1:.1f}" y="{side * (i // columns) + 1:.1f}" '
        f'width="{side - 2:.1f}" height="{side - 2:.1f}" rx="1" '
        + (f'fill="{_colour(colour)}"' if yes else 'fill="currentColor" fill-opacity=".15"')
        + "/>"
        for i, yes in enumerate(filled)
    ]
    return _box(alt, "".join(parts))


def small_chain(alt: str, links: Sequence[bool]) -> str:
    """Links of a chain; what is False was broken and is mended."""
    step, parts = (WIDE - 4) / len(links), []
    for i, whole in enumerate(links):
        colour, dash = ("truth", "") if whole else ("paper", ' stroke-dasharray="5 3"')
        parts.append(
            f'<rect x="{step * i + 2:.1f}" y="20" width="{step - 2:.1f}" height="20" rx="10" '
            f'stroke="{_colour(colour)}" stroke-width="3"{dash}/>'
        )
    return _box(alt, "".join(parts))


def colophon() -> HTML:
    """Version, date, licences and how to cite, from CITATION.cff."""
    text = (BOOK.parent / "CITATION.cff").read_text("utf-8")

    def field(name: str) -> str:
        found = re.search(rf'^{name}: "?(.*?)"?$', text, re.M)
        return html.escape(found[1]) if found else ""

    author = re.search(r'^  - name: "(.*?)"', text, re.M)
    who = html.escape(author[1]) if author else ""
    year = field("date-released")[:4]
    return _html(
        f'<div class="colophon"><p>Version {field("version")}, {field("date-released")}. '
        f"Code: {field('license')}. Text and figures: "
        '<a href="https://creativecommons.org/licenses/by/4.0/">CC BY 4.0</a>.</p>'
        f"<p><b>To cite:</b> {who} ({year}). <i>{field('title')}</i>, version {field('version')}. "
        "Please cite the paper that it follows as well.</p></div>"
    )
