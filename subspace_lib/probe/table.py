"""What a probe has read: a table that prints itself, and its picture."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from subspace_lib import _palette as palette


class ProbeTable(list[dict[str, Any]]):
    """A list of dicts, one per layer, that prints as a table. unseen: modules without a row."""

    unseen: Mapping[str, str] = MappingProxyType({})

    def only(self, *keys: str) -> ProbeTable:
        """The same layers with these quantities alone. ValueError for an unknown one."""
        known = list(self[0])
        for key in keys:
            if key not in known:
                raise ValueError(f"keys must be among {', '.join(known)}, got {key!r}")
        found = ProbeTable({key: row[key] for key in ("layer", *keys)} for row in self)
        found.unseen = self.unseen
        return found

    def _lines(self) -> list[list[str]]:
        """One column per layer: there are more quantities than layers, as a rule."""
        first = self[0] if self else {}
        keys = [key for key, value in first.items() if not isinstance(value, np.ndarray)]
        return [[key, *(_shown(row[key]) for row in self)] for key in keys]

    def _silent(self) -> list[str]:
        """One line a reason."""
        names: dict[str, list[str]] = {}
        for name, why in self.unseen.items():
            names.setdefault(why, []).append(name or "the model")
        return [f"not seen: {', '.join(mine)}, because it {why}" for why, mine in names.items()]

    def __repr__(self) -> str:
        lines = self._lines()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rows = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        return "\n".join([*rows, *self._silent()])

    def _repr_html_(self) -> str:
        body = "".join(
            f"<tr><th scope='row'>{html.escape(key)}</th>"
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
            + "</tr>"
            for key, *cells in self._lines()
        )
        silent = "".join(f"<p>{html.escape(line)}</p>" for line in self._silent())
        return f"<table class='certificate'><caption>Layer probe</caption>{body}</table>{silent}"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return "unknown" if value != value else f"{value:.4g}"
    return str(value)


def plot_table(table: ProbeTable, rank: int, larger_ranks: Sequence[int], ax: Any) -> Any:
    """The drawing of ``LayerProbe.plot``."""
    import matplotlib.pyplot as plt  # here, so that the probe works without a display

    ax = plt.subplots(figsize=(7, 3.6))[1] if ax is None else ax
    contained = [(f"containment_{q}", f"containment {q}") for q in larger_ranks[:1]]
    curves = [
        (f"share_{rank}", "share", palette.NETWORK, "-"),
        (f"shuffled_{rank}", "shuffled", palette.THEORY, "--"),
        ("distance_spectral", "largest sine", palette.NOISE, "-"),
        *((key, label, palette.NOISE, ":") for key, label in contained),
        ("bound", "bound", palette.BOOK, "--"),
        ("acc", "accuracy", palette.NETWORK, "--"),
    ]
    at = np.arange(len(table))
    sketched = np.array([row["method"] == "sketch" for row in table])
    for key, label, colour, style in curves:
        if key not in table[0]:
            continue  # no labels, no accuracy
        values = np.array([row[key] for row in table], dtype=float)
        if key == "bound":  # one that says nothing is no point
            values[values >= 1] = np.nan
        values = np.minimum(values, 1.0)
        ax.plot(at, values, style, color=colour, label=label)
        hollow = sketched & (key != "bound")
        for where, fill in ((~hollow, colour), (hollow, "white")):
            ax.plot(at[where], values[where], "o", color=colour, markerfacecolor=fill)
    names = [row["layer"] or "model" for row in table]
    ax.set_xticks(at, names, rotation=30 if len("".join(names)) > 40 else 0)
    ax.set(xlabel="layer", ylabel="share, sine or accuracy", ylim=(-0.03, 1.05))
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0)}
    ax.legend(fontsize=9, ncols=3, columnspacing=1, handlelength=1.5, **place)
    return ax
