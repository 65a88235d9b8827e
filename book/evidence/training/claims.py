"""Claims about what training does to one hidden layer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evidence.claim import CONDITIONAL, FAILS, VACUOUS, Judgement, claim
from evidence.criteria import CLOSE, FALL, KEPT
from evidence.readings import NORMS, by_count, falls, listed, mostly, rises
from evidence.results import Result
from evidence.sensitivity import tally


def finished(run: Result, convention: str = "relative") -> list[int]:
    """Points of one noise convention at which no trial diverged."""
    return [
        i
        for i, p in enumerate(run.settings)
        if p["convention"] == convention and not run["diverged"][i].any()
    ]


def among(chosen: list[int], true: np.ndarray) -> list[int]:
    """The chosen settings of which it is true. true: (settings,)."""
    return [i for i in chosen if true[i]]


def named(run: Result, chosen: list[int]) -> list[str]:
    return [describe(run.settings[i]) for i in chosen]


def describe(point: Mapping[str, object]) -> str:
    """A setting in a few words: "adam 0.003 with bias, noise 0.1"."""
    bias = "with bias" if point["bias"] else "no bias"
    return f"{point['optimizer']} {point['lr']:g} {bias}, noise {point['variance']:g}"


def diverging(run: Result) -> str:
    """What became of the paper's printed setting, as a sentence."""
    parts = []
    for i, p in enumerate(run.settings):
        if p["convention"] == "absolute" and p["lr"] == 0.005:
            parts.append(f"{int(run['diverged'][i].sum())} of {run['diverged'].shape[1]} trials")
    return f"as printed (noise, learning rate 0.005) {' and '.join(parts)} diverge"


def distance_falls(run: Result) -> Judgement:
    """Distance P(X*) to P(Y) in each norm, over the settings that did not diverge."""
    chosen = finished(run)
    fallen = {n: among(chosen, falls(run, f"clean_to_post_{n}")) for n in NORMS}
    counts = {name: len(found) for name, found in fallen.items()}
    some = sorted(set().union(*fallen.values()))
    counted = ", ".join(f"{name} {count}" for name, count in counts.items())
    last = run["clean_to_post_max"][chosen, -1]
    kept = float((last < run["connectivity_margin"][chosen, -1] / 2).mean())
    return Judgement(
        by_count(sum(counts.values()), len(chosen) * len(NORMS)),
        f"{diverging(run)}; of {len(chosen)} relative-noise settings the distance from P(X*) to "
        f"P(Y) falls by a tenth in {counted}; at the end it is below half the connectivity margin "
        f"in {kept:.0%} of the trials",
        f"falling in some norm: {tally(run.settings, chosen, some)}",
    )


def condition_rises(run: Result, more: Result) -> Judgement:
    """Frequency of δ > η. Where it never holds, before or after, it cannot be judged by it."""
    chosen = [i for i in range(len(run.settings)) if not run["diverged"][i].any()]
    holds, others = run["printed_holds"][chosen], more["printed_holds"]
    first, last = (np.concatenate([holds[:, t].ravel(), others[:, t].ravel()]) for t in (0, -1))
    ratios = np.concatenate([run["printed_ratio"][chosen].ravel(), more["printed_ratio"].ravel()])
    ever = float(np.nanmax(holds)) > 0 or bool(last.any())
    higher = int((holds[:, -1].mean(-1) > holds[:, 0].mean(-1)).sum())
    return Judgement(
        by_count(higher, len(chosen)) if ever else VACUOUS,
        f"δ > η holds in {first.mean():.0%} of {len(first)} networks before training and in "
        f"{last.mean():.0%} after it; the largest δ/η at any checkpoint is {np.nanmax(ratios):.1e}",
    )


def nonnegative(run: Result) -> Judgement:
    """Both halves: the share of negative pre-activations falls, and the energy ReLU removes.

    The generous reading: with a bias the pre-activation is WX + b1ᵀ, and what ReLU removes is
    counted from there. ‖Y − WX‖ itself, the error in the theorem, is reported beside it.
    """
    chosen = finished(run)
    both = among(chosen, falls(run, "negative_share") & falls(run, "energy_removed"))
    worse = among(chosen, rises(run, "negative_share"))
    bare = [i for i in chosen if not run.settings[i]["bias"]]
    ends = np.nanmedian(run["negative_share"][bare, -1])
    error = run["activation_error"] / run["image_norm"]
    nearer = among(chosen, mostly(error[:, -1] <= FALL * error[:, 0]))
    return Judgement(
        by_count(len(both), len(chosen)),
        f"the share of negative pre-activations and the energy removed fall in {len(both)} of "
        f"{len(chosen)} relative-noise settings"
        f"{listed(named(run, both))}, the share rises in {len(worse)}; without bias it ends at "
        f"{ends:.2f}; ‖Y − WX‖/‖WX‖ falls in {len(nearer)}",
        tally(run.settings, chosen, both),
    )


def no_regulariser(run: Result) -> Judgement:
    """The paper's sense: max distance below half the (connectivity) margin. Ours: 0.99 of P(X*)
    in the leading r + 1 directions.
    """
    chosen = finished(run)
    near = run["clean_to_post_max"][:, -1] < run["connectivity_margin"][:, -1] / 2
    strict = among(chosen, mostly(near))
    loose = among(chosen, mostly(run["share_r1"][:, -1] >= KEPT))
    verdict = by_count(len(strict), len(chosen))
    verdict = CONDITIONAL if verdict == FAILS and loose else verdict
    return Judgement(
        verdict,
        f"max distance below half the connectivity margin in {len(strict)} of {len(chosen)} "
        f"settings; 99 % of P(X*) inside the leading r + 1 directions in {len(loose)}"
        f"{listed(named(run, loose))}",
        f"99 % inside the leading r + 1: {tally(run.settings, chosen, loose)}",
    )


def closed_form(run: Result, data: Result) -> Judgement:
    """Spectral clustering of |P(Y)| (the better of ranks r and r + 1) against that of |P(X)|.

    If random weights do as well as trained ones, training did not find it: then the claim can hold
    only as a property of the layer.
    """
    chosen, good, before, gone = finished(run), [], 0, []
    for i in chosen:
        same = {k: run.settings[i][k] for k in ("convention", "variance")}
        enough = data.at(**same)["spectral_acc"].mean() - CLOSE
        ends = np.maximum(run["spectral_acc"][i], run["spectral_acc_r1"][i]).mean(-1)
        before += int(ends[0] >= enough)
        if ends[-1] >= enough:
            good.append(i)
        else:
            gone.append(f"{describe(run.settings[i])}: {ends[-1]:.2f}")
    linked = run["acc"][chosen, -1].mean()
    return Judgement(
        by_count(len(good), len(chosen)),
        f"spectral clustering of P(Y) is as accurate as that of P(X) in {before} of "
        f"{len(chosen)} settings before training and in {len(good)} after it"
        f"{listed(gone, ' (not: ')}; single linkage on P(Y) reaches {linked:.2f} on average",
        tally(run.settings, chosen, good),
    )


claim(
    "training-distance-falls",
    "The projection distance decreases along training (Figure 2, centre).",
    distance_falls,
    "autoencoder",
)
claim(
    "training-condition-rises",
    "The frequency of δ > η increases with the training epochs.",
    condition_rises,
    "autoencoder",
    "trained-certificates",
)
claim(
    "training-nonnegative-preactivations",
    "Training makes WX tend to be non-negative, so that Y ≈ WX.",
    nonnegative,
    "autoencoder",
)
claim(
    "training-no-regulariser",
    "No regulariser is needed: training alone finds a W that preserves the structure.",
    no_regulariser,
    "autoencoder",
)
claim(
    "closed-form-clustering",
    "Networks cluster by the closed-form projector: P(Y) clusters as P(X) does.",
    closed_form,
    "autoencoder",
    "data-clusters",
)
