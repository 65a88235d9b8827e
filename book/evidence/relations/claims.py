"""What preservation has to do with neural collapse and with flat minima."""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr

from evidence.claim import Judgement, claim
from evidence.criteria import CONNECTED
from evidence.readings import by_count, matching
from evidence.results import Result

NOISE = 0.1  # the noise at which learning rates were varied
MEASURES = {"variability": "collapse", "sharpness": "flatness"}


def final(run: Result, name: str, objective: str) -> np.ndarray:
    """The last checkpoint (of the last layer) of all runs at NOISE under one objective: flat."""
    values = run[name][matching(run, objective=objective, noise=NOISE), -1]
    return (values[:, -1] if values.ndim == 3 else values).ravel()


def correlation(run: Result, name: str, objective: str) -> float:
    """Spearman's ρ of ``name`` with the share of P(X*) in the top r + 1; diverged runs left out."""
    pair = np.stack([final(run, name, objective), final(run, "share_r1", objective)])
    pair = pair[:, np.isfinite(pair).all(0)]
    return float(spearmanr(*pair).statistic)


def connected(run: Result) -> Judgement:
    """Both measures under both objectives."""
    found = {
        (what, objective): correlation(run, name, objective)
        for name, what in MEASURES.items()
        for objective in ("reconstruct", "classify")
    }
    count = sum(rho <= CONNECTED for rho in found.values())
    listed = ", ".join(f"{what} when they {o} {rho:+.3f}" for (what, o), rho in found.items())
    return Judgement(
        by_count(count, len(found)),
        f"rank correlation over trained networks of the share of P(X*) in the leading r + 1 "
        f"directions with what is left of the variation within classes, and with sharpness (at "
        f"most {CONNECTED:g} counts as a connection): {listed}",
    )


claim(
    "collapse-and-flatness",
    "Preserving the structure goes together with neural collapse and with flat minima.",
    connected,
    "relations",
)
