"""What preservation has to do with neural collapse and with flat minima: chapter 20."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.stats import spearmanr

from evidence.claim import CONDITIONAL, FAILS, HOLDS, Claim, Judgement, register
from evidence.results import Result

RUN = "relations"
NOISE = 0.1  # the noise at which learning rates were varied
# Connected: trained networks that collapsed further (smaller NC1), or ended in flatter minima
# (smaller sharpness), keep a larger share of P(X*) in the top r + 1 directions of the last layer;
# Spearman's rank correlation over all runs and trials at most this.
CONNECTED = -0.5
MEASURES = {"variability": "collapse", "sharpness": "flatness"}


def final(run: Result, name: str, objective: str) -> np.ndarray:
    """The last checkpoint (of the last layer) of all runs at NOISE under one objective: flat."""
    chosen = [
        i for i, p in enumerate(run.settings) if p["objective"] == objective and p["noise"] == NOISE
    ]
    values = run[name][chosen, -1]
    return (values[:, -1] if values.ndim == 3 else values).ravel()


def correlation(run: Result, name: str, objective: str) -> float:
    """Spearman's ρ of ``name`` with the share of P(X*) in the top r + 1; diverged runs left out."""
    pair = np.stack([final(run, name, objective), final(run, "share_r1", objective)])
    pair = pair[:, np.isfinite(pair).all(0)]
    return float(spearmanr(*pair).statistic)


def connected(results: Mapping[str, Result]) -> Judgement:
    """Both measures under both objectives."""
    run = results[RUN]
    found = {
        (what, objective): correlation(run, name, objective)
        for name, what in MEASURES.items()
        for objective in ("reconstruct", "classify")
    }
    count = sum(rho <= CONNECTED for rho in found.values())
    listed = ", ".join(f"{what} when they {o} {rho:+.3f}" for (what, o), rho in found.items())
    return Judgement(
        HOLDS if count == len(found) else CONDITIONAL if count else FAILS,
        f"rank correlation over trained networks of the share of P(X*) in the leading r + 1 "
        f"directions with what is left of the variation within classes, and with sharpness (at "
        f"most {CONNECTED:g} counts as a connection): {listed}",
    )


register(
    Claim(
        "collapse-and-flatness",
        "Preserving the structure goes together with neural collapse and with flat minima.",
        20,
        (RUN,),
        connected,
    )
)
