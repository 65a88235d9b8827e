"""Claims about what training does to one hidden layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

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


def other_set_ups(run: Result | None) -> list[dict[str, object]]:
    """The settings of the other readings of the set-up, without the chapter's own."""
    return [s for s in run.settings if s["reading"] != OWN] if run else []


def distance_falls(run: Result, training_readings: Result | None = None) -> list[Reading]:
    """To P(Y) along the whole path, then by its ends, then to P(WX); each in every norm.

    Then the end of networks of other set-ups: batches, widths, starts, data prepared otherwise.
    """
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
    if others := other_set_ups(training_readings):
        assert training_readings is not None
        own = [training_readings.settings.index(s) for s in others]
        readings += [
            Reading(
                f"other set-ups, to P(Y), {words}",
                ends_lower(training_readings, f"clean_to_post_{norm}")[own],
                others,
            )
            for norm, words in NORM_NAMES.items()
        ]
    return [*readings, diverging(run)]


def rising(name: str, run: Result, holds: str, cases: list[dict[str, object]]) -> Reading:
    """The frequency of a condition after training against before; every setting of a result."""
    share = run[holds].mean(-1)
    return Reading(
        name,
        share[:, -1] > share[:, 0],
        cases,
        met=(share > 0).any(1),
        number=float(share[:, -1].mean()),
        unit="of the trials at the end",
    )


def condition_rises(
    run: Result,
    more: Result,
    lifted_condition: Result | None = None,
    training_readings: Result | None = None,
) -> list[Reading]:
    """The frequency of δ > η at the end against that at the start, as printed and link by link.

    Then in other set-ups, and last on lifted data [X; 1ᵀ] at rank r + 1, which is what a layer with
    a bias sees.
    """
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
    beside = []
    if training_readings:
        cases = [{"set-up": s["reading"], **s} for s in training_readings.settings]
        readings.append(rising("other set-ups", training_readings, "printed_holds", cases))
    if lifted_condition:
        cases = list(lifted_condition.settings)
        for words, holds in (("as printed", "printed_holds"), ("link by link", "links_holds")):
            readings.append(
                rising(f"on lifted data with a bias, {words}", lifted_condition, holds, cases)
            )
        beside = [rising("on lifted data, two links", lifted_condition, "two_links_holds", cases)]
        beside = [replace(one, counts=False) for one in beside]
    ratios = np.concatenate([run["printed_ratio"].ravel(), more["printed_ratio"].ravel()])
    two = aside("two links at the end", more["two_links_holds"][:, -1].mean(), "of the trials")
    return [*readings, aside("largest δ/η at any checkpoint", np.nanmax(ratios)), two, *beside]


def nonnegative(run: Result, gates: Result | None = None) -> list[Reading]:
    """Both halves: fewer negative pre-activations, and Y nearer to WX.

    As it stands the error is ‖Y − WX‖/‖WX‖, the theorem's. The generous reading counts what ReLU
    removes from the pre-activation WX + b1ᵀ. Last, the first half alone, on data of other scales.
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
    scaled = []
    if gates:
        left = float(np.nanmedian(gates["negative_share"][:, -1]))
        found = ends_lower(gates, "negative_share")
        name = "fewer negative pre-activations, data × 1 to 160"
        scaled = [Reading(name, found, gates.settings, number=left, unit=unit)]
    return [
        Reading("Y against WX", (fewer & nearer)[number], cases, number=negative, unit=unit),
        Reading("Y against WX + b1ᵀ", (fewer & less)[number], cases, number=negative, unit=unit),
        *scaled,
        aside("without bias", np.nanmedian(run["negative_share"][bare, -1]), "negative at the end"),
    ]


def no_regulariser(
    run: Result, gates: Result | None = None, training_readings: Result | None = None
) -> list[Reading]:
    """The paper's sense, below half the margin; then the book's definition of preserving.

    The latter over every network with one hidden layer that was trained: data at other scales and
    other set-ups included, where they are stored.
    """
    number = finished(run)
    cases = chosen(run, number)
    distance, share = run["clean_to_post_max"][number, -1], run["share_r1"][number, -1]
    found = [kept(share)]
    every = [{"data": "× 1", "set-up": OWN, **case} for case in cases]
    if gates:
        found.append(kept(gates["share_r1"][:, -1]))
        every += [{"data": f"× {s['factor']:g}", "set-up": OWN, **s} for s in gates.settings]
    if others := other_set_ups(training_readings):
        assert training_readings is not None
        own = [training_readings.settings.index(s) for s in others]
        found.append(kept(training_readings["share_r1"][own, -1]))
        every += [{"data": "× 1", "set-up": s["reading"], **s} for s in others]
    shown = [{key: case.get(key) for key in SHOWN} for case in every]
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
            np.concatenate(found),
            shown,
            number=float(np.median(share)),
            unit="median share at the scale and set-up of the chapter",
        ),
    ]


OWN = "as in the chapter"
SHOWN = ("data", "bias", "optimizer", "set-up")


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
    optional=("training-readings",),
)
claim(
    "training-condition-rises",
    r"The frequency of $\delta>\eta$ increases with the training epochs.",
    condition_rises,
    "autoencoder",
    "trained-certificates",
    optional=("lifted-condition", "training-readings"),
)
claim(
    "training-nonnegative-preactivations",
    r"Training makes $WX$ tend to be non-negative, so that $Y\approx WX$.",
    nonnegative,
    "autoencoder",
    optional=("gates",),
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
    r"No regulariser is needed: training alone finds a $W$ that preserves the structure.",
    no_regulariser,
    "autoencoder",
    optional=("gates", "training-readings"),
)
claim(
    "closed-form-clustering",
    r"Networks cluster by the closed-form projector: $P(Y)$ clusters as $P(X)$ does.",
    closed_form,
    "autoencoder",
    "data-clusters",
)
