"""The workbench where a kernel runs: the same controls, and training in a thread of its own."""

from __future__ import annotations

import base64
import html
import io
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from page.workbench import ROWS, Control
from subspace_lib.figures import NETWORK, NOISE, TRUTH

Frame = Mapping[str, Any]  # step, V (r + 1, n) and the numbers of CURVES
Train = Callable[[dict[str, Any], int, Callable[[Frame], None]], None]
CURVES = {"share_r1": NETWORK, "share_r": NETWORK, "loss": NOISE, "negative_share": TRUTH}
DARKEST, FULL = 0.16, np.array([0, 114, 178])
WIDTH, HEIGHT, RIGHT = 430, 250, 290


class Overtaken(Exception):
    """Raised in the thread of a run that a later move has made pointless."""


class Bench:
    """Controls, a progress bar and a picture; ``widget`` shows them.

    train(setting, seed, report): trains and calls report(frame) at step 0 and at every mark after
    it; report raises Overtaken when the run is to end, and waits while it is paused.
    Every move starts a run under a new number; only the frames of the latest are shown.
    """

    def __init__(self, controls: Sequence[Control], train: Train, *, rank: int, steps: int) -> None:
        self.controls, self.train, self.rank, self.steps = controls, train, rank, steps
        self.seed, self.generation = 1, 0
        self.frames: list[Frame] = []
        self.ghost: list[Frame] = []
        self.lock, self.may_go = threading.Lock(), threading.Event()
        self.thread: threading.Thread | None = None
        self.error: Exception | None = None
        self._build()
        self.start(paused=True)

    @property
    def setting(self) -> dict[str, Any]:
        return {c.key: c.values[self.inputs[c.key].value] for c in self.controls}

    def start(self, *, paused: bool = False) -> None:
        """A run of the present setting; the one before it ends at its next mark, as a ghost."""
        with self.lock:
            self.generation += 1
            if len(self.frames) > 1:
                self.ghost = self.frames
            self.frames, mine = [], self.generation
        release, self.may_go = self.may_go, threading.Event()
        release.set()  # a paused run wakes up, sees that it is overtaken, and ends
        if not paused:
            self.may_go.set()
        job = (mine, self.setting, self.seed, self.may_go)
        self.thread = threading.Thread(target=self._run, args=job, daemon=True)
        self.thread.start()

    def pause(self, _: Any = None) -> None:
        self.may_go.clear()

    def go(self, _: Any = None) -> None:
        done = self.frames and self.frames[-1]["step"] >= self.steps
        if done:
            self.start()
        else:
            self.may_go.set()

    def step(self, _: Any = None) -> None:
        """On to the next mark; up to step 10 this is one step."""
        self.once = True
        self.may_go.set()

    def _run(self, mine: int, setting: dict[str, Any], seed: int, may_go: threading.Event) -> None:
        def report(frame: Frame) -> None:
            with self.lock:
                if mine != self.generation:
                    raise Overtaken
                self.frames.append(frame)
                self._show()
                if self.once:
                    self.once = False
                    may_go.clear()
            may_go.wait()
            if mine != self.generation:
                raise Overtaken

        try:
            self.train(setting, seed, report)
        except Overtaken:
            pass
        except Exception as error:  # a thread's own would be lost: the reader is told
            self.error = error
            self.note.value = f"<b>Stopped:</b> {html.escape(str(error))}"

    def _build(self) -> None:
        """Only features that ipywidgets 7.7 has too."""
        import ipywidgets as w

        self.once, self.inputs = False, {}
        for c in self.controls:
            options = list(zip(c.words, range(len(c.words)), strict=True))
            kind = w.SelectionSlider if c.kind == "range" else w.ToggleButtons
            more: dict[str, Any] = {"style": {"description_width": "initial"}}
            if c.kind == "range":
                more["continuous_update"] = False
            else:
                more["style"]["button_width"] = "auto"
            self.inputs[c.key] = kind(options=options, value=c.start, description=c.label, **more)
            self.inputs[c.key].observe(lambda _: self.start(), names="value")
        acts: dict[str, Callable[[Any], None]] = {
            "▶ Train": self.go,
            "⏸ Pause": self.pause,
            "Step": self.step,
        }
        acts |= {"↺ Restart": lambda _: self.start(paused=True), "New seed": self._new_seed}
        self.buttons = {name: w.Button(description=name) for name in acts}
        for name, act in acts.items():
            self.buttons[name].on_click(act)
        self.bar = w.IntProgress(min=0, max=self.steps, description="steps")
        self.picture, self.note = w.HTML(), w.HTML()
        left = w.VBox([*self.inputs.values(), w.HBox(list(self.buttons.values()))])
        right = w.VBox([self.picture, self.bar, self.note])
        layout = w.Layout(display="flex", flex_flow="row wrap")
        self.widget = w.Box([left, right], layout=layout)

    def _new_seed(self, _: Any = None) -> None:
        self.seed += 1
        self.start()

    def _show(self) -> None:
        now = self.frames[-1]
        maps = "".join(
            f'<figure style="margin:0">{name}<br>{picture(now["V"][:r])}</figure>'
            for name, r in (("Top r", self.rank), ("One more", self.rank + 1))
        )
        drawn = curves(self.frames, self.ghost, self.steps)
        self.picture.value = f'<div style="display:flex;gap:1em;flex-wrap:wrap">{maps}{drawn}</div>'
        self.bar.value = now["step"]
        told = ", ".join(f"{ROWS[name]} {now[name]:.3f}" for name in CURVES)
        self.note.value = f"Seed {self.seed}, step {now['step']}: {told}."


def picture(V: np.ndarray) -> str:
    """|VᵀV| as a small picture, as dark as in the published page."""
    from PIL import Image

    full = np.sqrt(np.minimum(1, np.abs(V.T @ V) / DARKEST))[..., None]
    raw = io.BytesIO()
    Image.fromarray((255 + full * (FULL - 255)).astype(np.uint8)).save(raw, "PNG")
    data = base64.b64encode(raw.getvalue()).decode()
    look = "width:210px;image-rendering:pixelated"
    return (
        f'<img style="{look}" alt="Heat map of the projector" src="data:image/png;base64,{data}">'
    )


def curves(frames: Sequence[Frame], ghost: Sequence[Frame], steps: int) -> str:
    """The curves of a run and, faint, of the one before; named at their ends."""

    def at(frame: Frame, name: str) -> tuple[float, float]:
        x = 20 + (RIGHT - 20) * math.log1p(frame["step"]) / math.log1p(steps)
        return x, HEIGHT - 20 - (HEIGHT - 30) * min(float(frame[name]), 1.1) / 1.1

    parts, low = [], 0.0
    for run, opacity in ((ghost, 0.35), (frames, 1.0)):
        for name, colour in CURVES.items():
            points = " ".join("{:.1f},{:.1f}".format(*at(f, name)) for f in run)
            dashes = ' stroke-dasharray="5 3"' if name == "share_r" else ""
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" '
                f'opacity="{opacity}"{dashes}/>'
            )
    for name in sorted(CURVES, key=lambda name: at(frames[-1], name)[1]):
        x, y = at(frames[-1], name)
        low = max(y + 4, low + 14)
        text = f"{ROWS[name].split(' pre')[0]} {frames[-1][name]:.2f}"
        parts.append(f'<text x="{x + 6:.0f}" y="{low:.0f}" fill="{CURVES[name]}">{text}</text>')
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Curves along training" style="font:12px sans-serif">{"".join(parts)}</svg>'
    )
