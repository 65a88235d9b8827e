"""One call, two lives: a live widget where a kernel runs, precomputed frames in the static book."""

from __future__ import annotations

import hashlib
import html
import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from page.figures import described, webp_uri

BUDGET = 3_000_000  # bytes of one slider's frames: a page has to load on a phone
MANY = 4  # sliders from which on they stand beside the picture where there is room

_SCRIPT = """(function(){document.querySelectorAll('[data-fx="UID"]:not([data-ready])')
.forEach(function(root){root.dataset.ready=1;
var D=JSON.parse(root.querySelector('script[type="application/json"]').textContent),
img=root.querySelector('img'),note=root.querySelector('.fx-note'),
ins=[].slice.call(root.querySelectorAll('input'));
function show(){var k=0,t=[];ins.forEach(function(e,a){var ax=D.axes[a],s=ax.labels[+e.value];
k=k*ax.labels.length+(+e.value);t.push(ax.name+' '+s);e.setAttribute('aria-valuetext',s);
e.parentNode.querySelector('output').textContent=s;});
img.src=D.frames[k];img.alt=D.alt+' Shown: '+t.join(', ')+'. '+D.notes[k];
note.textContent=D.notes[k];}
ins.forEach(function(e){e.disabled=false;e.addEventListener('input',show);});show();});})();"""


@dataclass(frozen=True)
class _Axis:
    key: str
    name: str
    values: tuple[Any, ...]
    labels: tuple[str, ...]
    start: int


@dataclass(frozen=True)
class _Frame:
    uri: str
    size: tuple[int, int]
    note: str


def explore(
    render: Callable[..., Any],
    *,
    alt: str,
    dpi: int = 100,
    colors: int | None = None,
    fmt: Callable[[Any], str] | Mapping[str, Callable[[Any], str]] = "{:g}".format,
    labels: Mapping[str, str] | None = None,
    start: Mapping[str, int] | None = None,
    static: bool | None = None,
    **axes: Sequence[Any],
) -> Any:
    """A figure with one slider per keyword, such as ``explore(draw, alt="…", noise=[0, 0.1, 1])``.

    render(**point): returns a Figure, or (Figure, text) with a short line of numbers to show below.
    alt: what the figure shows, in a sentence; the position of the sliders is added to it.
    colors: reduce the frames to so many, for hundreds of small figures (see ``webp_uri``).
    fmt: how a value is written, one function (text stays as it is) or one per axis.
    labels: names for the sliders.
    start: index of the first position. static: None asks the environment variable BOOK_STATIC.

    With BOOK_STATIC=1 every frame is computed now and the result is self-contained HTML that needs
    neither kernel nor network. Otherwise it is an ipywidgets control (7.7 and 8).
    Raises ValueError for no axes, an empty axis, an empty ``alt`` or more than 3 MB of frames;
    TypeError where ``render`` does not return a Figure.
    """
    alt = described(alt)
    if not axes:
        raise ValueError("explore needs at least one axis; pass one as name=[values]")
    prepared = [_axis(key, values, fmt, labels or {}, start or {}) for key, values in axes.items()]
    static = os.environ.get("BOOK_STATIC") == "1" if static is None else static

    def frame(**point: Any) -> _Frame:
        return _frame(render, point, dpi, colors)

    return (_static if static else _live)(frame, prepared, alt)


def _axis(key: str, values: Any, fmt: Any, labels: Any, start: Any) -> _Axis:
    grid = tuple(values)
    if not grid:
        raise ValueError(f"axis {key!r} is empty; give it at least one value")
    own = isinstance(fmt, Mapping) and key in fmt
    write = fmt.get(key, "{:g}".format) if isinstance(fmt, Mapping) else fmt
    first = start.get(key, 0)
    if not 0 <= first < len(grid):
        raise ValueError(f"start[{key!r}] must lie in 0..{len(grid) - 1}, got {first}")
    texts = tuple(v if isinstance(v, str) and not own else str(write(v)) for v in grid)
    return _Axis(key, labels.get(key, key.replace("_", " ")), grid, texts, first)


def _frame(
    render: Callable[..., Any], point: dict[str, Any], dpi: int, colors: int | None
) -> _Frame:
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    result = render(**point)
    fig, note = result if isinstance(result, tuple) else (result, "")
    if not isinstance(fig, Figure):
        kind = type(fig).__name__
        raise TypeError(f"render must return a matplotlib Figure (or Figure, text), got {kind}")
    uri = webp_uri(fig, dpi, colors)
    width, height = (round(float(side) * dpi) for side in fig.get_size_inches())
    plt.close(fig)
    return _Frame(uri, (width, height), str(note))


def _static(frame: Callable[..., _Frame], axes: list[_Axis], alt: str) -> Any:
    from IPython.display import HTML

    points = itertools.product(*(axis.values for axis in axes))
    keys = [axis.key for axis in axes]
    frames = [frame(**dict(zip(keys, p, strict=True))) for p in points]
    size = sum(len(frame.uri) for frame in frames)
    if size > BUDGET:
        raise ValueError(
            f"the {len(frames)} frames take {size / 1e6:.1f} MB, more than {BUDGET / 1e6:.0f}; "
            f"use fewer positions or a smaller figure"
        )
    index = 0
    for axis in axes:
        index = index * len(axis.values) + axis.start
    return HTML(_page(axes, frames, frames[index], alt))


def _page(axes: list[_Axis], frames: list[_Frame], first: _Frame, alt: str) -> str:
    data = {
        "alt": alt,
        "frames": [frame.uri for frame in frames],
        "notes": [frame.note for frame in frames],
        "axes": [{"name": axis.name, "labels": axis.labels} for axis in axes],
    }
    blob = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    uid = hashlib.sha256(blob.encode()).hexdigest()[:12]  # of the content: builds are reproducible
    rows = "".join(
        f'<label class="fx-row"><span>{html.escape(axis.name)}</span>'
        f'<input type="range" disabled min="0" max="{len(axis.values) - 1}" value="{axis.start}" '
        f'aria-label="{html.escape(axis.name)}" '
        f'aria-valuetext="{html.escape(axis.labels[axis.start])}">'
        f"<output>{html.escape(axis.labels[axis.start])}</output></label>"
        for axis in axes
    )
    width, height = first.size
    kind = "fx fx-many" if len(axes) >= MANY else "fx"
    return (
        f'<div class="{kind}" data-fx="{uid}"><img class="dark-light" width="{width}" '
        f'height="{height}" style="max-width:100%;height:auto;background:#fff" '
        f'src="{first.uri}" alt="{html.escape(alt)}">'
        f'<p class="fx-note" aria-live="polite">{html.escape(first.note)}</p>'
        f'<div class="fx-rows">{rows}</div><script type="application/json">{blob}</script>'
        f"<script>{_SCRIPT.replace('UID', uid)}</script></div>"
    )


def _live(frame: Callable[..., _Frame], axes: list[_Axis], alt: str) -> Any:
    """Only features that ipywidgets 7.7 has too."""
    import ipywidgets as widgets

    sliders = {
        axis.key: widgets.SelectionSlider(
            options=list(zip(axis.labels, range(len(axis.values)), strict=True)),
            value=axis.start,
            description=axis.name,
            continuous_update=False,
            style={"description_width": "initial"},
            layout=widgets.Layout(width="min(32em, 95%)"),
        )
        for axis in axes
    }
    picture = widgets.HTML()
    seen: dict[tuple[int, ...], _Frame] = {}

    def update(_: Any = None) -> None:
        position = tuple(slider.value for slider in sliders.values())
        if position not in seen:
            point = {a.key: a.values[i] for a, i in zip(axes, position, strict=True)}
            picture.value = f'<div style="opacity:0.4">{picture.value}</div>'  # until it is there
            seen[position] = frame(**point)
        now = seen[position]
        state = ", ".join(f"{a.name} {a.labels[i]}" for a, i in zip(axes, position, strict=True))
        text = html.escape(f"{alt} Shown: {state}. {now.note}")
        picture.value = (
            f'<img style="max-width:100%;background:#fff" alt="{text}" src="{now.uri}">'
            f"<p>{html.escape(now.note)}</p>"
        )

    for slider in sliders.values():
        slider.observe(update, names="value")
    update()
    if len(axes) < MANY:
        return widgets.VBox([*sliders.values(), picture])
    beside = widgets.Layout(display="flex", flex_flow="row wrap")
    return widgets.Box([picture, widgets.VBox(list(sliders.values()))], layout=beside)
