"""Claims about what training does to one hidden layer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evidence.claim import claim
from evidence.criteria import limits
from evidence.readings import (
    NORM_NAMES,
    as_good,
    chosen,
    ends_lower,
    falls,
    kept,
    lower,
    mostly,
)
from evidence.results import Result
from evidence.verdict import Reading, aside


def finished(run: Result, convention: str = "relative") -> list[int]:
    """Settings of one noise convention at which no trial diverged."""
    return [
        i
        for i, p in enumerate(run.settings)
        if p["convention"] == convention and not run["diverged"][i].any()
    ]


def describe(point: Mapping[str, object]) -> str:
    """A setting in a few words: "adam 0.003 with bias, noise 0.1"."""
    bias = "with bias" if point["bias"] else "no bias"
    return f"{point['optimizer']} {point['lr']:g} {bias}, noise {point['variance']:g}"


def diverging(run: Result) -> Reading:
    """What became of the paper's printed setting."""
    printed = [
        i for i, p in enumerate(run.settings) if p["convention"] == "absolute" and p["lr"] == 0.005
    ]
    return aside(
        "as printed (noise, learning rate 0.005), diverging",
        run["diverged"][printed].mean() if printed else np.nan,
        "of the trials",
    )


def distance_falls(run: Result) -> list[Reading]:
    """To P(Y) along the whole path, then by its ends, then to P(WX); each in every norm."""
    number = finished(run)
    cases = chosen(run, number)
    ways = (
        ("P(Y), along the path", "clean_to_post", falls),
        ("P(Y), end against start", "clean_to_post", ends_lower),
        ("P(WX), end against start", "clean_to_pre", ends_lower),
    )
    readings = [
        Reading(f"to {way}, {words}", found(run, f"{name}_{norm}")[number], cases)
        for way, name, found in ways
        for norm, words in NORM_NAMES.items()
    ]
    return [*readings, diverging(run)]


def condition_rises(run: Result, more: Result) -> list[Reading]:
    """The frequency of δ > η at the end against that at the start, as printed and link by link."""
    readings = []
    for words, name in (("as printed", "printed_holds"), ("link by link", "links_holds")):
        first, last, ever, cases = [], [], [], []
        for result in (run, more):
            whole = np.flatnonzero(~result["diverged"].any(1)).tolist()
            share = result[name][whole].mean(-1)
            first += share[:, 0].tolist()
            last += share[:, -1].tolist()
            ever += (np.nanmax(share, 1) > 0).tolist()
            cases += chosen(result, whole)
        readings.append(
            Reading(
                words,
                np.array(last) > np.array(first),
                cases,
                met=ever,
                number=float(np.mean(last)),
                unit="of the trials at the end",
            )
        )
    ratios = np.concatenate([run["printed_ratio"].ravel(), more["printed_ratio"].ravel()])
    two = aside("two links at the end", more["two_links_holds"][:, -1].mean(), "of the trials")
    return [*readings, aside("largest δ/η at any checkpoint", np.nanmax(ratios)), two]


def nonnegative(run: Result) -> list[Reading]:
    """Both halves: fewer negative pre-activations, and Y nearer to WX.

    As it stands the error is ‖Y − WX‖/‖WX‖, the theorem's. The generous reading counts what ReLU
    removes from the pre-activation WX + b1ᵀ.
    """
    number = finished(run)
    cases = chosen(run, number)
    fewer = falls(run, "negative_share")
    error = run["activation_error"] / run["image_norm"]
    nearer = mostly(error[:, -1] <= (1 - limits.change) * error[:, 0])
    less = falls(run, "energy_removed")
    negative = np.nanmedian(run["negative_share"][number, -1])
    unit = "of the pre-activations negative at the end, median"
    bare = [i for i in number if not run.settings[i]["bias"]]
    return [
        Reading("Y against WX", (fewer & nearer)[number], cases, number=negative, unit=unit),
        Reading("Y against WX + b1ᵀ", (fewer & less)[number], cases, number=negative, unit=unit),
        aside("without bias", np.nanmedian(run["negative_share"][bare, -1]), "negative at the end"),
    ]


def no_regulariser(run: Result) -> list[Reading]:
    """The paper's sense, below half the margin; then the book's definition of preserving."""
    number = finished(run)
    cases = chosen(run, number)
    distance, share = run["clean_to_post_max"][number, -1], run["share_r1"][number, -1]
    return [
        Reading(
            "largest entry below half the connectivity margin",
            mostly(distance < run["connectivity_margin"][number, -1] / 2),
            cases,
            number=float(np.median(distance)),
            unit="median distance",
        ),
        Reading(
            "99 % of P(X*) in the leading r + 1",
            kept(share),
            cases,
            number=float(np.median(share)),
            unit="median share",
        ),
    ]


def clusters(run: Result, data: Result, step: int) -> tuple[list[dict[str, object]], np.ndarray]:
    """Whether P(Y) clusters as P(X) does, read spectrally at rank r or r + 1, the better one."""
    number = finished(run)
    keys = ("convention", "variance")
    own = [data.index(**{key: run.settings[i][key] for key in keys}) for i in number]
    both = np.maximum(run["spectral_acc"][number, step], run["spectral_acc_r1"][number, step])
    return chosen(run, number), as_good(both.mean(-1), data["spectral_acc"][own].mean(-1))


def closed_form(run: Result, data: Result) -> list[Reading]:
    """After training; before it beside, since what random weights do as well was not learned."""
    cases, after = clusters(run, data, -1)
    _, before = clusters(run, data, 0)
    linked = run["acc"][finished(run), -1].mean()
    return [
        Reading("spectral clustering, after training", after, cases),
        Reading("spectral clustering, at random weights", before, cases, counts=False),
        aside("single linkage, after training", linked, "mean accuracy"),
    ]


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


def deviations(run: Result) -> list[Reading]:
    """Each link's own deviation. The first, from P(X*) to P(X), is the same for every W.

    All three; then the two that W changes, with ReLU's error from WX; then from WX + b1ᵀ.
    """
    number = finished(run)
    cases = chosen(run, number)
    error = run["activation_error"] / run["image_norm"]
    bent, less = mostly(lower(error)), ends_lower(run, "energy_removed")
    ways = (
        ("all three, ReLU's from WX", bent, ("data", "pre")),
        ("mixing and bending, ReLU's from WX", bent, ("pre",)),
        ("mixing and bending, ReLU's from WX + b1ᵀ", less, ("pre",)),
    )
    readings = []
    for way, found, links in ways:
        for norm, words in NORM_NAMES.items():
            shrunk = [ends_lower(run, f"clean_to_{link}_{norm}") for link in links]
            together = np.all([found, *shrunk], 0)[number]
            readings.append(Reading(f"{way}, {words}", together, cases))
    return readings


claim(
    "training-deviations-shrink",
    "Along training the three deviations (denoising, mixing, bending) shrink together.",
    deviations,
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
