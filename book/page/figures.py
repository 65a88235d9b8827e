"""The book's style, and a figure with its text on the page."""

from __future__ import annotations

import html
from typing import Any

import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.figure import Figure

from page.image import webp_uri
from subspace_lib.figures import CLUSTERS


def use_style() -> None:
    """The book's style: white, few lines, text that stays readable on a phone."""
    plt.rcParams.update(
        {
            "figure.figsize": (7.0, 3.6),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "axes.facecolor": "white",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=list(CLUSTERS)),
            "axes.titlesize": 12,
            "axes.labelsize": 12,
            "font.size": 11.5,
            "legend.frameon": False,
            "lines.linewidth": 2,
            "image.interpolation": "nearest",
        }
    )


def show(fig: Figure, *, alt: str, dpi: int = 120) -> Any:
    """The figure as an image with alternative text; use it as the last line of a cell.

    alt: what the figure shows, in a sentence. Raises ValueError when it is empty.
    """
    from IPython.display import HTML

    if not isinstance(alt, str) or not alt.strip():
        raise ValueError("alt must say in a sentence what the figure shows, got an empty text")
    width, height = (round(float(side) * 100) for side in fig.get_size_inches())
    uri = webp_uri(fig, dpi)
    plt.close(fig)
    return HTML(
        f'<img class="dark-light" width="{width}" height="{height}" '
        f'style="max-width:100%;height:auto;background:#fff" src="{uri}" alt="{html.escape(alt)}">'
    )
