"""Claims about the theorem as a whole."""

from __future__ import annotations

import numpy as np

from evidence.claim import CONDITIONAL, FAILS, HOLDS, Judgement, claim
from evidence.criteria import OFTEN, REALISTIC
from evidence.readings import CHECKED, matching, proved
from evidence.results import Result
from subspace_lib.bounds import CHAIN_FORMS


def frequency(run: Result) -> Judgement:
    """Fails where no noise level lets the printed condition hold often with ReLU, either margin."""
    printed = run["holds"][:, :, CHAIN_FORMS.index("printed")]
    best = {name: _share(run, printed, name) for name in ("relu", "identity")}
    third = (run["gaps"] > _needed(run))[_points(run, "relu")][..., 2]
    measured = (
        f"ReLU, random weights: δ > η in at most {best['relu'].max():.0%} of the trials at any "
        f"noise, the third link in {third.mean():.0%}; without activation half of the trials up to "
        f"relative noise 10^{_reach(run, best['identity'][:, 0])} (ε_min) and "
        f"10^{_reach(run, best['identity'][:, 1])} (ε_conn)"
    )
    if best["relu"].max() < OFTEN:
        return Judgement(FAILS, measured)
    reach = _reach(run, best["relu"].max(1), "relu")
    return Judgement(HOLDS if reach >= REALISTIC else CONDITIONAL, measured)


def _points(run: Result, activation: str) -> list[int]:
    return matching(run, convention="relative", activation=activation)


def _share(run: Result, holds: np.ndarray, activation: str) -> np.ndarray:
    """Share of the trials at every noise level, with each margin: (levels, 2)."""
    return holds[_points(run, activation)].mean(1)


def _reach(run: Result, share: np.ndarray, activation: str = "identity") -> float:
    """log₁₀ of the largest noise at which the condition holds often; −∞ where at none."""
    levels = [run.settings[i]["log10_variance"] for i in _points(run, activation)]
    return max((v for v, s in zip(levels, share, strict=True) if s >= OFTEN), default=-float("inf"))


def _needed(run: Result) -> np.ndarray:
    """κ · error of each link with the connectivity margin."""
    rank = run.config["n_subspaces"] * run.config["subspace_dim"]
    return (128 * rank) ** 0.5 / run["margins"][..., 1, None] * run["errors"]


claim(
    "theorem-3-1",
    "The paper's Theorem 3.1: δ > η gives ‖P(X*) − P(Y)‖ < ε/2 in the largest entry.",
    proved(HOLDS, "three-links", "printed-form"),
    CHECKED,
)
claim(
    "theorem-condition-frequency",
    "δ > η holds frequently, and its frequency degrades gracefully with noise.",
    frequency,
    "theorem-frequency",
)
claim(
    "depth-union-bound",
    "A union bound with ε/L extends the theorem to L layers.",
    proved(CONDITIONAL, "second-layer-unclean", "sum-of-links"),
    CHECKED,
)
