"""One call, two lives: a live widget where a kernel runs, precomputed frames in the static book."""

from __future__ import annotations

import hashlib
import html
import itertools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from page.figures import CSS, captioned, described, webp_uri

BUDGET = 3_000_000  # bytes of one control's frames: a page has to load on a phone
FEW = 24  # frames up to which each is drawn at 1.6 dots for a pixel
BESIDE = 600  # a picture up to so many pixels wide has its controls beside it where there is room
BUTTONS = 44  # characters of all labels up to which they are buttons in a row, else a list

_SCRIPT = Path(__file__).with_name("explore.js").read_text(encoding="utf-8")


@dataclass(frozen=True)
class _Axis:
    key: str
    name: str
    values: tuple[Any, ...]
    labels: tuple[str, ...]
    start: int

    @property
    def kind(self) -> str:
        """A category, and what has two or three values, is chosen; what has more is moved."""
        named = any(isinstance(value, (str, bool)) for value in self.values)
        if not named and len(self.values) > 3:
            return "slider"
        return "buttons" if sum(map(len, self.labels)) <= BUTTONS else "list"


@dataclass(frozen=True)
class _Frame:
    uri: str
    size: tuple[int, int]
    note: str | tuple[tuple[str, str], ...]

    @property
    def words(self) -> str:
        return self.note if isinstance(self.note, str) else ", ".join(map(" ".join, self.note))


def explore(
    render: Callable[..., Any],
    *,
    alt: str,
    caption: str | None = None,
    dpi: int | None = None,
    colors: int | None = None,
    fmt: Callable[[Any], str] | Mapping[str, Callable[[Any], str]] = "{:g}".format,
    labels: Mapping[str, str] | None = None,
    start: Mapping[str, int] | None = None,
    static: bool | None = None,
    **axes: Sequence[Any],
) -> Any:
    """A figure with one control per keyword, such as ``explore(draw, alt="…", noise=[0, 0.1, 1])``.

    Numbers are a slider; text, bool and two or three values are buttons in a row, or a list.
    render(**point): returns a Figure, or (Figure, text), or (Figure, {name: value}) with numbers to
    show below, the same names at each point.
    alt: what the figure shows, in a sentence; the position of the controls is added to it.
    caption: what to look at; it is numbered as ``show`` does.
    dpi: dots for an inch; None takes 160 for few frames, else 100.
    colors: reduce the frames to so many, for hundreds of small figures (see ``webp_uri``).
    fmt: how a value is written, one function (text stays as it is) or one per axis.
    labels: names for the controls.
    start: index of the first position. static: None asks the environment variable BOOK_STATIC.

    With BOOK_STATIC=1 every frame is computed now and the result is self-contained HTML that needs
    neither kernel nor network; the live control is made too, so that a build tries what a kernel
    would show. Otherwise it is an ipywidgets control (7.7 and 8).
    Raises ValueError for no axes, an empty axis, an empty text or more than 3 MB of frames;
    TypeError where ``render`` does not return a Figure.
    """
    alt = described(alt)
    if not axes:
        raise ValueError("explore needs at least one axis; pass one as name=[values]")
    prepared = [_axis(key, values, fmt, labels or {}, start or {}) for key, values in axes.items()]
    if caption is not None and not caption.strip():
        raise ValueError("caption must say what to look at, got an empty text; leave it out")
    static = os.environ.get("BOOK_STATIC") == "1" if static is None else static
    sharp = math.prod(len(axis.values) for axis in prepared) <= FEW and static
    dots = dpi or (160 if sharp else 100)

    @cache
    def frame(*position: int) -> _Frame:
        point = {axis.key: axis.values[i] for axis, i in zip(prepared, position, strict=True)}
        return _frame(render, point, dots, colors)

    live = _live(frame, prepared, alt, caption)
    return _static(frame, prepared, alt, caption) if static else live


def _axis(key: str, values: Any, fmt: Any, labels: Any, start: Any) -> _Axis:
    grid = tuple(values)
    if not grid:
        raise ValueError(f"axis {key!r} is empty; give it at least one value")
    own = isinstance(fmt, Mapping) and key in fmt
    write = fmt.get(key, "{:g}".format) if isinstance(fmt, Mapping) else fmt
    first = start.get(key, 0)
    if not 0 <= first < len(grid):
        raise ValueError(f"start[{key!r}] must lie in 0..{len(grid) - 1}, got {first}")
    texts = tuple(
        _text(v) if isinstance(v, (str, bool)) and not own else _minus(str(write(v))) for v in grid
    )
    return _Axis(key, labels.get(key, key.replace("_", " ")), grid, texts, first)


def _minus(text: str) -> str:
    return f"−{text[1:]}" if text.startswith("-") else text


def _text(value: str | bool) -> str:
    return value if isinstance(value, str) else ("yes" if value else "no")


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
    width, height = (round(float(side) * CSS) for side in fig.get_size_inches())
    plt.close(fig)
    if isinstance(note, Mapping):
        note = tuple((str(name), str(value)) for name, value in note.items())
    return _Frame(uri, (width, height), note if isinstance(note, tuple) else str(note))


def _static(frame: Callable[..., _Frame], axes: list[_Axis], alt: str, caption: str | None) -> Any:
    from IPython.display import HTML

    positions = itertools.product(*(range(len(axis.values)) for axis in axes))
    frames = [frame(*position) for position in positions]
    size = sum(len(frame.uri) for frame in frames)
    if size > BUDGET:
        raise ValueError(
            f"the {len(frames)} frames take {size / 1e6:.1f} MB, more than {BUDGET / 1e6:.0f}; "
            f"use fewer positions or a smaller figure"
        )
    index = 0
    for axis in axes:
        index = index * len(axis.values) + axis.start
    text = _page(axes, frames, frames[index], alt)
    return HTML(text if caption is None else captioned(text, caption.strip()))


def _page(axes: list[_Axis], frames: list[_Frame], first: _Frame, alt: str) -> str:
    data = {
        "alt": alt,
        "frames": [frame.uri for frame in frames],
        "notes": [frame.note for frame in frames],
        "axes": [{"name": a.name, "labels": a.labels, "start": a.start} for a in axes],
    }
    blob = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    uid = hashlib.sha256(blob.encode()).hexdigest()[:12]  # of the content: builds are reproducible
    rows = "".join(_row(axis, f"{uid}-{k}") for k, axis in enumerate(axes))
    width, height = first.size
    kind = "fx fx-beside" if width <= BESIDE else "fx"
    return (
        f'<div class="{kind}" data-fx="{uid}"><img class="dark-light" width="{width}" '
        f'height="{height}" style="max-width:100%;height:auto;background:#fff" '
        f'src="{first.uri}" alt="{html.escape(alt)}">'
        f'<div class="fx-side"><div class="fx-rows">{rows}'
        f'<button type="button" class="fx-reset" disabled>Reset</button></div>{_told(first)}</div>'
        f'<script type="application/json">{blob}</script>'
        f"<script>{_SCRIPT.replace('UID', uid)}</script></div>"
    )


def _told(frame: _Frame) -> str:
    """Below the controls: a line of text, or values that keep their places."""
    if isinstance(frame.note, str):
        return f'<p class="fx-note" aria-live="polite">{html.escape(frame.note)}</p>'
    pairs = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
        for name, value in frame.note
    )
    return f'<dl class="fx-note" aria-live="polite">{pairs}</dl>'


def _row(axis: _Axis, group: str) -> str:
    name, texts = html.escape(axis.name), [html.escape(text) for text in axis.labels]
    if axis.kind == "slider":
        return (
            f'<label class="fx-row"><span>{name}</span>'
            f'<input type="range" disabled min="0" max="{len(texts) - 1}" value="{axis.start}" '
            f'aria-label="{name}" aria-valuetext="{texts[axis.start]}">'
            f"<output>{texts[axis.start]}</output></label>"
        )
    if axis.kind == "list":
        options = "".join(
            f'<option value="{k}"{" selected" if k == axis.start else ""}>{text}</option>'
            for k, text in enumerate(texts)
        )
        return (
            f'<label class="fx-row"><span>{name}</span><select disabled>{options}</select></label>'
        )
    buttons = "".join(
        f'<label><input type="radio" disabled name="{group}" value="{k}"'
        f"{' checked' if k == axis.start else ''}><span>{text}</span></label>"
        for k, text in enumerate(texts)
    )
    return (
        f'<fieldset class="fx-row"><legend>{name}</legend>'
        f'<div class="fx-buttons">{buttons}</div></fieldset>'
    )


def _live(frame: Callable[..., _Frame], axes: list[_Axis], alt: str, caption: str | None) -> Any:
    """Only features that ipywidgets 7.7 has too."""
    import ipywidgets as widgets

    controls = {axis.key: _control(axis) for axis in axes}
    picture = widgets.HTML()
    seen: set[tuple[int, ...]] = set()
    first = tuple(axis.start for axis in axes)

    def update(_: Any = None) -> None:
        position = tuple(control.value for control in controls.values())
        if position not in seen:
            seen.add(position)
            picture.value = f'<div style="opacity:0.4">{picture.value}</div>'  # until it is there
        now = frame(*position)
        state = ", ".join(f"{a.name} {a.labels[i]}" for a, i in zip(axes, position, strict=True))
        text = html.escape(f"{alt} Shown: {state}. {now.words}")
        image = f'<img style="max-width:100%;background:#fff" alt="{text}" src="{now.uri}">'
        image += f"<p>{html.escape(now.words)}</p>"
        picture.value = image if caption is None else captioned(image, caption.strip())
        reset.disabled = position == first

    def back(_: Any) -> None:
        for axis in axes:
            controls[axis.key].value = axis.start

    reset = widgets.Button(description="Reset")
    reset.on_click(back)
    for control in controls.values():
        control.observe(update, names="value")
    update()
    beside = widgets.Layout(display="flex", flex_flow="row wrap")
    side = widgets.VBox([*controls.values(), reset])
    return widgets.Box([picture, side], layout=beside)


def _control(axis: _Axis) -> Any:
    import ipywidgets as widgets

    options = {
        "options": list(zip(axis.labels, range(len(axis.values)), strict=True)),
        "value": axis.start,
        "description": axis.name,
        "style": {"description_width": "initial"},
    }
    wide = widgets.Layout(width="min(32em, 95%)")
    if axis.kind == "slider":
        return widgets.SelectionSlider(**options, layout=wide, continuous_update=False)
    if axis.kind == "list":
        return widgets.Dropdown(**options, layout=wide)
    return widgets.ToggleButtons(**options)
