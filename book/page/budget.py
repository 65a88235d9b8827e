"""The margin as a budget: four steps of the proof, an eighth of ε for each, half of it in all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from subspace_lib.figures import MARGIN, NETWORK, PAPER

STEPS = ("$X^* \\to X$", "$X \\to X^*$", "$X^* \\to WX$", "$WX \\to Y$")


def plot_budget(spent: Mapping[str, Any], *, ax: Axes) -> Axes:
    """A bar of ε/2 in slots of ε/8, one a step; each is filled by what the step takes.

    spent: the names of at most four steps (see ``STEPS``), and for each the entrywise distance it
    takes as a share of ε; None for a step that is left open. What exceeds its eighth fills the
    slot in the paper's colour and says how many eighths it is.
    """
    if not 1 <= len(spent) <= 4:
        raise ValueError(f"a budget has one to four steps, got {len(spent)}")
    for k, (name, share) in enumerate(spent.items()):
        known = share is not None
        eighths = 8 * float(share) if known else 0.0
        ax.add_patch(Rectangle((k, 0), min(eighths, 1), 1, facecolor=_colour(eighths), alpha=0.85))
        middle: dict[str, Any] = {"ha": "center", "fontsize": 11}
        ax.text(k + 0.5, 1.16, name, va="bottom", alpha=1 if known else 0.7, **middle)
        if known:
            ax.text(k + 0.5, -0.16, _words(eighths), va="top", **middle)
    for k in (1, 2, 3):
        ax.plot([k, k], [0, 1], color=MARGIN, linestyle="--", linewidth=1.2)
    ax.add_patch(Rectangle((0, 0), 4, 1, fill=False, edgecolor="black", linewidth=1.2))
    ax.text(4.06, 0.5, "$\\frac{\\varepsilon}{2}$", va="center", color=MARGIN, fontsize=16)
    ax.set(xlim=(-0.05, 4.4), ylim=(-0.75, 1.75))
    ax.set_axis_off()
    return ax


def _colour(eighths: float) -> str:
    return NETWORK if eighths < 1 else PAPER


def _words(eighths: float) -> str:
    if eighths == 0:
        return "nothing"
    if eighths >= 10_000:
        return "over $10^4$ eighths"
    if eighths >= 1:
        return f"{eighths:,.0f} eighths" if eighths >= 10 else f"{eighths:.1f} eighths"
    return f"{eighths:.0%} of $\\varepsilon/8$" if eighths >= 0.005 else "next to nothing"
