"""What preservation has to do with neural collapse and with flat minima."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from evidence.claim import claim
from evidence.criteria import limits
from evidence.readings import matching
from evidence.results import Result
from evidence.verdict import Reading

NOISE = 0.1  # the noise at which learning rates were varied
MEASURES = {"variability": "collapse", "sharpness": "flatness"}
OBJECTIVES = ("reconstruct", "classify")


def final(run: Result, name: str, objective: str) -> np.ndarray:
    """The last checkpoint (of the last layer) of all runs at NOISE under one objective: flat."""
    values = run[name][matching(run, objective=objective, noise=NOISE), -1]
    return (values[:, -1] if values.ndim == 3 else values).ravel()


def correlation(run: Result, name: str, objective: str) -> float:
    """Spearman's ρ of ``name`` with the share of P(X*) in the top r + 1; diverged runs left out."""
    pair = np.stack([final(run, name, objective), final(run, "share_r1", objective)])
    pair = pair[:, np.isfinite(pair).all(0)]
    return float(np.corrcoef(rankdata(pair, axis=1))[0, 1])


def correlations(run: Result, name: str) -> np.ndarray:
    return np.array([correlation(run, name, objective) for objective in OBJECTIVES])


def together(run: Result, *names: str) -> list[Reading]:
    """A smaller measure (further collapse, a flatter minimum) goes with a larger share of P(X*).

    Found under an objective where every one of the named measures does.
    """
    found = {name: correlations(run, name) for name in names}
    worst = np.max(list(found.values()), 0)
    return [
        Reading(
            "rank correlation over trained networks",
            worst <= -limits.connected,
            [{"objective": objective} for objective in OBJECTIVES],
            number=float(worst.min()),
            unit="the correlation nearest to −1",
            noun="objectives",
        ),
        *(
            Reading(
                f"{MEASURES[name]}, {objective}",
                number=float(rho),
                unit="the rank correlation",
                counts=False,
            )
            for name, values in found.items()
            for objective, rho in zip(OBJECTIVES, values, strict=True)
        ),
    ]


def collapse(run: Result) -> list[Reading]:
    return together(run, "variability")


def flatness(run: Result) -> list[Reading]:
    return together(run, "sharpness")


def both(run: Result) -> list[Reading]:
    return together(run, "variability", "sharpness")


claim(
    "preservation-and-collapse",
    "Preserving the structure goes together with neural collapse.",
    collapse,
    "relations",
)
claim(
    "preservation-and-flatness",
    "Preserving the structure goes together with flat minima.",
    flatness,
    "relations",
)
claim(
    "collapse-and-flatness",
    "Preserving the structure goes together with neural collapse and with flat minima at once.",
    both,
    "relations",
)
