"""Claims about what training does to one hidden layer: chapter 11."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evidence.claim import (
    CONDITIONAL,
    FAILS,
    HOLDS,
    VACUOUS,
    Claim,
    Judgement,
    register,
)
from evidence.results import Result
from evidence.sensitivity import tally

CHAPTER = 11
RUN, CERTIFICATES, DATA = "autoencoder", "trained-certificates", "data-clusters"
NORMS = ("max", "spectral", "fro")
REMOVED = "energy_removed"
# A quantity "falls" at a point if nine trials in ten lose a tenth of it between the random weights
# and the end. Less than that is within what one trial differs from the next.
FALL, TRIALS = 0.9, 0.9
# Two clusterings count as equally good within one point in a hundred.
CLOSE = 0.01


def finished(run: Result, convention: str = "relative") -> list[int]:
    """Points of one noise convention at which no trial diverged."""
    return [
        i for i, p in enumerate(run.settings)
        if p["convention"] == convention and not run["diverged"][i].any()
    ]  # fmt: skip


def falls(run: Result, name: str, i: int) -> bool:
    first, last = run[name][i, 0], run[name][i, -1]
    return bool((last <= FALL * first).mean() >= TRIALS)


def rises(run: Result, name: str, i: int) -> bool:
    first, last = run[name][i, 0], run[name][i, -1]
    return bool((first <= FALL * last).mean() >= TRIALS)


def _verdict(count: int, of: int) -> str:
    return HOLDS if count == of else CONDITIONAL if count else FAILS


def _median(values: np.ndarray) -> float:
    return float(np.nanmedian(values))


def describe(point: Mapping[str, object]) -> str:
    """A point in a few words: "adam 0.003 with bias, noise 0.1"."""
    bias = "with bias" if point["bias"] else "no bias"
    return f"{point['optimizer']} {point['lr']:g} {bias}, noise {point['variance']:g}"


def diverging(run: Result) -> str:
    """What became of the paper's printed setting, as a sentence."""
    parts = []
    for i, p in enumerate(run.settings):
        if p["convention"] == "absolute" and p["lr"] == 0.005:
            parts.append(f"{int(run['diverged'][i].sum())} of {run['diverged'].shape[1]} trials")
    return f"as printed (noise, learning rate 0.005) {' and '.join(parts)} diverge"


def distance_falls(results: Mapping[str, Result]) -> Judgement:
    """Distance P(X*) to P(Y) in each norm, over the points that did not diverge."""
    run = results[RUN]
    chosen = finished(run)
    fallen = {n: [i for i in chosen if falls(run, f"clean_to_post_{n}", i)] for n in NORMS}
    counts = {name: len(found) for name, found in fallen.items()}
    some = sorted(set().union(*fallen.values()))
    listed = ", ".join(f"{name} {count}" for name, count in counts.items())
    last = run["clean_to_post_max"][chosen, -1]
    kept = float((last < run["connectivity_margin"][chosen, -1] / 2).mean())
    return Judgement(
        _verdict(sum(counts.values()), len(chosen) * len(NORMS)),
        f"{diverging(run)}; of {len(chosen)} relative-noise settings the distance from P(X*) to "
        f"P(Y) falls by a tenth in {listed}; at the end it is below half the connectivity margin "
        f"in {kept:.0%} of the trials",
        f"falling in some norm: {tally(run.settings, chosen, some)}",
    )


def condition_rises(results: Mapping[str, Result]) -> Judgement:
    """Frequency of δ > η. Where it never holds, before or after, it cannot be judged by it."""
    run, more = results[RUN], results[CERTIFICATES]
    chosen = [i for i in range(len(run.settings)) if not run["diverged"][i].any()]
    first = np.concatenate([run["printed_holds"][chosen, 0].ravel(),
                            more["printed_holds"][:, 0].ravel()])  # fmt: skip
    last = np.concatenate([run["printed_holds"][chosen, -1].ravel(),
                           more["printed_holds"][:, -1].ravel()])  # fmt: skip
    ratios = np.concatenate([run["printed_ratio"][chosen].ravel(), more["printed_ratio"].ravel()])
    ever = float(np.nanmax(run["printed_holds"][chosen])) > 0 or bool(last.any())
    if not ever:
        verdict = VACUOUS
    else:
        higher = [run["printed_holds"][i, -1].mean() > run["printed_holds"][i, 0].mean()
                  for i in chosen]  # fmt: skip
        verdict = _verdict(sum(higher), len(chosen))
    return Judgement(
        verdict,
        f"δ > η holds in {first.mean():.0%} of {len(first)} networks before training and in "
        f"{last.mean():.0%} after it; the largest δ/η at any checkpoint is {np.nanmax(ratios):.1e}",
    )


def nonnegative(results: Mapping[str, Result]) -> Judgement:
    """Both halves: the share of negative pre-activations falls, and the energy ReLU removes.

    The generous reading: with a bias the pre-activation is WX + b1ᵀ, and what ReLU removes is
    counted from there. ‖Y − WX‖ itself, the error in the theorem, is reported beside it.
    """
    run = results[RUN]
    chosen = finished(run)
    both = [i for i in chosen if all(falls(run, n, i) for n in ("negative_share", REMOVED))]
    worse = [i for i in chosen if rises(run, "negative_share", i)]
    bare = [i for i in chosen if not run.settings[i]["bias"]]
    error = run["activation_error"] / run["image_norm"]
    nearer = [i for i in chosen if (error[i, -1] <= FALL * error[i, 0]).mean() >= TRIALS]
    return Judgement(
        _verdict(len(both), len(chosen)),
        f"the share of negative pre-activations and the energy removed fall in {len(both)} of "
        f"{len(chosen)} relative-noise settings"
        + (f" ({'; '.join(describe(run.settings[i]) for i in both)})" if both else "")
        + f", the share rises in {len(worse)}; without bias it ends at "
        f"{_median(run['negative_share'][bare, -1]):.2f}; ‖Y − WX‖/‖WX‖ falls in {len(nearer)}",
        tally(run.settings, chosen, both),
    )


def no_regulariser(results: Mapping[str, Result]) -> Judgement:
    """The paper's sense: max distance below half the (connectivity) margin. Ours: 0.99 of P(X*)
    in the leading r + 1 directions.
    """
    run = results[RUN]
    chosen = finished(run)
    near = run["clean_to_post_max"][:, -1] < run["connectivity_margin"][:, -1] / 2
    strict = [i for i in chosen if near[i].mean() >= TRIALS]
    loose = [i for i in chosen if (run["share_r1"][i, -1] >= 0.99).mean() >= TRIALS]
    verdict = _verdict(len(strict), len(chosen))
    verdict = CONDITIONAL if verdict == FAILS and loose else verdict
    return Judgement(
        verdict,
        f"max distance below half the connectivity margin in {len(strict)} of {len(chosen)} "
        f"settings; 99 % of P(X*) inside the leading r + 1 directions in {len(loose)}"
        + (f" ({'; '.join(describe(run.settings[i]) for i in loose)})" if loose else ""),
        f"99 % inside the leading r + 1: {tally(run.settings, chosen, loose)}",
    )


def closed_form(results: Mapping[str, Result]) -> Judgement:
    """Spectral clustering of |P(Y)| (the better of ranks r and r + 1) against that of |P(X)|.

    If random weights do as well as trained ones, training did not find it: then the claim can hold
    only as a property of the layer.
    """
    run, data = results[RUN], results[DATA]
    chosen = finished(run)
    good: list[bool] = []
    before, gone = [], []
    for i in chosen:
        point = {k: run.settings[i][k] for k in ("convention", "variance")}
        base = data.at(**point)["spectral_acc"].mean()
        ends = np.maximum(run["spectral_acc"][i], run["spectral_acc_r1"][i])
        good.append(ends[-1].mean() >= base - CLOSE)
        before.append(ends[0].mean() >= base - CLOSE)
        if not good[-1]:
            gone.append(f"{describe(run.settings[i])}: {ends[-1].mean():.2f}")
    linked = run["acc"][chosen, -1].mean()
    return Judgement(
        _verdict(sum(good), len(chosen)),
        f"spectral clustering of P(Y) is as accurate as that of P(X) in {sum(before)} of "
        f"{len(chosen)} settings before training and in {sum(good)} after it"
        + (f" (not: {'; '.join(gone)})" if gone else "")
        + f"; single linkage on P(Y) reaches {linked:.2f} on average",
        tally(run.settings, chosen, [i for i, fine in zip(chosen, good, strict=True) if fine]),
    )


register(
    Claim(
        "training-distance-falls",
        "The projection distance decreases along training (Figure 2, centre).",
        CHAPTER,
        (RUN,),
        distance_falls,
    )
)
register(
    Claim(
        "training-condition-rises",
        "The frequency of δ > η increases with the training epochs.",
        CHAPTER,
        (RUN, CERTIFICATES),
        condition_rises,
    )
)
register(
    Claim(
        "training-nonnegative-preactivations",
        "Training makes WX tend to be non-negative, so that Y ≈ WX.",
        CHAPTER,
        (RUN,),
        nonnegative,
    )
)
register(
    Claim(
        "training-no-regulariser",
        "No regulariser is needed: training alone finds a W that preserves the structure.",
        CHAPTER,
        (RUN,),
        no_regulariser,
    )
)
register(
    Claim(
        "closed-form-clustering",
        "Networks cluster by the closed-form projector: P(Y) clusters as P(X) does.",
        CHAPTER,
        (RUN, DATA),
        closed_form,
    )
)
