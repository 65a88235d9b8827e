"""Claims about the non-negative initialisation."""

from __future__ import annotations

import numpy as np

from evidence.claim import CONDITIONAL, FAILS, HOLDS, Judgement, claim
from evidence.criteria import CLOSE, FASTER, FLAT, MOST, NEAR_ZERO
from evidence.nonnegative.experiment import KINDS, STARTS, TARGETS
from evidence.readings import by_count, mostly
from evidence.results import Result
from evidence.sensitivity import tally

TARGET = 1  # of TARGETS: the middle one


def near_zero(run: Result, step: int) -> np.ndarray:
    """Whether the distance from P(X*) to P(Y) is near zero, (settings,).

    Near enough for the paper's own use of it (half the connectivity margin, largest entry), or in
    the spectral norm.
    """
    small = run["clean_to_post_max"][:, step] < run["connectivity_margin"][:, step] / 2
    return mostly(small | (run["clean_to_post_spectral"][:, step] < NEAR_ZERO))


def positive(run: Result) -> list[int]:
    """The settings with a non-negative start."""
    return [i for i, p in enumerate(run.settings) if p["init"] != STARTS[0]]


def free(run: Result) -> Judgement:
    """At the start, W ≥ 0 (the three non-negative schemes have the same W up to a factor).

    The free link (ReLU idle) is reported apart from the distance: the claim is about the latter.
    """
    chosen, found = positive(run), near_zero(run, 0)
    near = [i for i in chosen if found[i]]
    shares, distances = [], []
    for kind in KINDS:
        i = run.index(data=kind, init=STARTS[1], optimizer="adam")
        shares.append(f"{kind} {np.median(run['negative_share'][i, 0]):.3f}")
        distances.append(f"{kind} {np.median(run['clean_to_post_spectral'][i, 0]):.2f}")
    return Judgement(
        by_count(len(near), len(chosen)),
        f"at the start the distance from P(X*) to P(Y) is near zero in {len(near)} of "
        f"{len(chosen)} settings; at relative noise 0.5 its spectral norm is "
        f"{', '.join(distances)}; the share of negative pre-activations is {', '.join(shares)}",
        tally(run.settings, chosen, near),
    )


def is_optimum(run: Result, i: int, stage: int) -> np.ndarray:
    """Trials with zero gradient and positive definite Hessian of the whole loss."""
    flat = run["gradient"][i, stage] < FLAT
    return flat & (run["negatives"][i, stage] == 0) & (run["zeros"][i, stage] == 0)


def optimum(run: Result) -> Judgement:
    """The whole loss at the start first; then the loss as a function of the readout alone."""
    chosen = positive(run)
    whole = np.array([is_optimum(run, i, 0) for i in chosen])
    part = (run["readout_gradient"][chosen, 0] < FLAT) & (run["readout_lowest"][chosen, 0] > 0)
    determinant = run["determinant"][chosen, 0] > 0
    fitted = (run["readout_gradient"][chosen, 1] < FLAT) & (run["readout_lowest"][chosen, 1] > 0)
    verdict = HOLDS if whole.mean() >= MOST else CONDITIONAL if part.mean() >= MOST else FAILS
    often = [i for i, found in zip(chosen, mostly(whole), strict=True) if found]
    return Judgement(
        verdict,
        f"at {determinant.size} non-negative starts ‖g‖‖θ‖/L is at least "
        f"{run['gradient'][chosen, 0].min():.2g}; the Hessian has between "
        f"{run['negatives'][chosen, 0].min():.0f} and {run['negatives'][chosen, 0].max():.0f} "
        f"negative eigenvalues, and a positive determinant in {determinant.mean():.0%}; with W "
        f"fixed and the readout fitted, gradient zero and Hessian positive in {fitted.mean():.0%}",
        tally(run.settings, chosen, often),
    )


def pairs(run: Result) -> list[tuple[int, int]]:
    """(usual start, non-negative start) with the same data, noise and optimiser."""
    found = []
    for i in positive(run):
        p = run.settings[i]
        same = {k: p[k] for k in ("data", "optimizer", "variance", "clip")}
        rate = {"lr": p["lr"]} if p["optimizer"] == "adam" else {}  # descent: each its own
        found.append((run.index(init=STARTS[0], **same, **rate), i))
    return found


def accuracy(run: Result, i: int) -> float:
    """Mean accuracy at the end of spectral clustering, the better of ranks r and r + 1."""
    best = np.fmax(run["spectral_acc"][i, -1], run["spectral_acc_r1"][i, -1])
    return float(np.nan_to_num(best).mean())


def faster(run: Result) -> Judgement:
    """Median steps to a loss of 0.6‖X‖², and accuracy at the end, pair by pair."""
    compared = pairs(run)
    steps = np.nan_to_num(run["reached"][:, TARGET], nan=np.inf)
    median = np.median(steps, 1)
    quick = [b for a, b in compared if median[b] <= FASTER * median[a] and np.isfinite(median[b])]
    never = [b for _, b in compared if not np.isfinite(median[b])]
    better = [b for a, b in compared if accuracy(run, b) > accuracy(run, a) + CLOSE]
    worse = [b for a, b in compared if accuracy(run, b) < accuracy(run, a) - CLOSE]
    dead = [b for _, b in compared if np.median(run["dead_units"][b, -1]) > 0]
    both = set(quick) & set(better)
    verdict = by_count(len(both), len(compared))
    if verdict == FAILS and (quick or better):
        verdict = CONDITIONAL
    return Judgement(
        verdict,
        f"against the usual start in {len(compared)} settings, loss {TARGETS[TARGET]:g}‖X‖² is "
        f"reached in a tenth fewer steps in {len(quick)} and never in {len(never)}; "
        f"spectral clustering of P(Y) ends more accurate in {len(better)} and less accurate in "
        f"{len(worse)}; the median network has dead units in {len(dead)}",
        f"in a tenth fewer steps: {tally(run.settings, [b for _, b in compared], quick)}",
    )


claim(
    "nonnegative-free",
    "Non-negative W preserves the structure from the start: distance ≈ 0 at s² = 0.5.",
    free,
    "nonnegative",
)
claim(
    "nonnegative-optimum",
    "The non-negative start is a local optimum: zero gradient, positive Hessian determinant.",
    optimum,
    "nonnegative-hessian",
)
claim(
    "nonnegative-faster",
    "The non-negative start converges faster and clusters more accurately than the usual one.",
    faster,
    "nonnegative",
)
