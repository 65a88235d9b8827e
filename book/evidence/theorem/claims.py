"""Claims about the theorem as a whole."""

from __future__ import annotations

import numpy as np

from evidence.claim import CHECKED, HOLDS, claim
from evidence.criteria import limits
from evidence.readings import chosen, matching, proved
from evidence.results import Result
from evidence.verdict import Reading, aside
from subspace_lib.bounds import CHAIN_FORMS

LAYERS = {"relu": "ReLU, random weights", "identity": "no activation, random weights"}
MARGINS = ("ε_min", "ε_conn")


def frequency(run: Result) -> list[Reading]:
    """Often at a noise level, for each layer and margin; where it never holds there is nothing
    that could degrade.
    """
    printed = run["holds"][:, :, CHAIN_FORMS.index("printed")]
    readings = []
    for activation, name in LAYERS.items():
        levels = _levels(run, activation)
        for j, margin in enumerate(MARGINS):
            share = printed[levels][..., j].mean(1)
            often = share >= limits.often
            noise = np.array([float(run.settings[i]["log10_variance"]) for i in levels])
            readings.append(
                Reading(
                    f"{name}, {margin}",
                    often,
                    chosen(run, levels),
                    met=share > 0,
                    number=float(noise[often].max(initial=-np.inf)),
                    unit="the largest log₁₀ of the noise at which it holds often",
                    noun="noise levels",
                )
            )
    third = (run["gaps"] > _needed(run))[_levels(run, "relu")][..., 2]
    return [*readings, aside("third link alone, ReLU, ε_conn", third.mean(), "of the trials")]


def _levels(run: Result, activation: str) -> list[int]:
    return matching(run, convention="relative", activation=activation)


def _needed(run: Result) -> np.ndarray:
    """κ · error of each link with the connectivity margin."""
    rank = run.config["n_subspaces"] * run.config["subspace_dim"]
    return (128 * rank) ** 0.5 / run["margins"][..., 1, None] * run["errors"]


claim(
    "theorem-3-1",
    r"The paper's Theorem 3.1: $\delta>\eta$"
    r" gives $\|P(X^\ast)-P(Y)\|<\varepsilon/2$ in the largest entry.",
    proved(HOLDS, "three-links", "printed-form"),
    CHECKED,
)
claim(
    "theorem-some-weights-violate",
    r"For every activation some $W$ violates $\delta>\eta$.",
    proved(HOLDS, "rank-misses-signal"),
    CHECKED,
)
claim(
    "theorem-condition-frequency",
    r"$\delta>\eta$ holds frequently, and its frequency degrades gracefully with noise.",
    frequency,
    "theorem-frequency",
)
