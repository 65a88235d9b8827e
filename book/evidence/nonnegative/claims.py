"""Claims about the non-negative initialisation."""

from __future__ import annotations

import numpy as np

from evidence.claim import claim
from evidence.criteria import limits
from evidence.nonnegative.experiment import KINDS, STARTS, TARGETS
from evidence.readings import chosen, fewer_errors, mostly
from evidence.results import Result
from evidence.verdict import Reading, aside


def near_zero(run: Result, step: int) -> np.ndarray:
    """Whether the distance from P(X*) to P(Y) is near zero, (settings,).

    Near enough for the paper's own use of it (half the connectivity margin, largest entry), or in
    the spectral norm.
    """
    small = run["clean_to_post_max"][:, step] < run["connectivity_margin"][:, step] / 2
    return mostly(small | (run["clean_to_post_spectral"][:, step] <= limits.near))


def positive(run: Result) -> list[int]:
    """The settings with a non-negative start."""
    return [i for i, p in enumerate(run.settings) if p["init"] != STARTS[0]]


def free(run: Result) -> list[Reading]:
    """From X* to Y at the noise of the claim, at less, then the link from WX to Y alone."""
    found, kinds = near_zero(run, 0), positive(run)
    loud = [i for i in kinds if run.settings[i]["variance"] == 0.5]
    quiet = [i for i in kinds if run.settings[i]["variance"] < 0.5]
    error = run["activation_error"][:, 0] / run["image_norm"][:, 0]
    idle = mostly(error <= limits.idle)
    middle = np.median(run["clean_to_post_spectral"][:, 0], 1)
    unit = "the least median distance, spectral norm"
    readings = [
        Reading(name, found[own], chosen(run, own), number=float(middle[own].min()), unit=unit)
        for name, own in (("X* to Y at s² = 0.5", loud), ("X* to Y at less noise", quiet))
        if own
    ]
    link = Reading(
        "WX to Y",
        idle[kinds],
        chosen(run, kinds),
        number=float(np.median(error[kinds])),
        unit="median ‖Y − WX‖/‖WX‖",
    )
    beside = []
    for kind in KINDS:
        i = run.index(data=kind, init=STARTS[1], optimizer="adam")
        share = np.median(run["negative_share"][i, 0])
        beside.append(aside(f"{kind} data", share, "of the pre-activations negative"))
    return [*readings, link, *beside]


def is_optimum(run: Result, i: int, stage: int) -> np.ndarray:
    """Trials with zero gradient and positive definite Hessian of the whole loss."""
    level = run["gradient"][i, stage] < limits.flat
    return level & (run["negatives"][i, stage] == 0) & (run["zeros"][i, stage] == 0)


def optimum(run: Result) -> list[Reading]:
    """The whole loss at the start, the words of the claim alone, then the readout alone."""
    own = positive(run)
    cases = chosen(run, own)
    flat = run["gradient"][own, 0] < limits.flat
    whole = np.array([is_optimum(run, i, 0) for i in own])
    signs = run["determinant"][own, 0] > 0
    part = run["readout_lowest"][own] > 0
    level = run["readout_gradient"][own] < limits.flat
    least = float(run["gradient"][own, 0].min())
    unit = "the least ‖g‖‖θ‖/L"
    return [
        Reading("Hessian positive definite", mostly(whole), cases, number=least, unit=unit),
        Reading("determinant positive", mostly(flat & signs), cases, number=least, unit=unit),
        Reading(
            "in the readout alone",
            mostly(level[:, 0] & part[:, 0]),
            cases,
            number=float(run["readout_gradient"][own, 0].min()),
            unit="the least ‖g‖‖D‖/L",
        ),
        aside("determinant alone", signs.mean(), "of the starts have a positive one"),
        aside("negative eigenvalues, at least", run["negatives"][own, 0].min()),
        aside(
            "in the readout alone, once it is fitted",
            (level[:, 1] & part[:, 1]).mean(),
            "of the starts, zero gradient and positive Hessian",
        ),
    ]


def pairs(run: Result) -> list[tuple[int, int]]:
    """(usual start, non-negative start) with the same data, noise and optimiser."""
    found = []
    for i in positive(run):
        p = run.settings[i]
        same = {k: p[k] for k in ("data", "optimizer", "variance", "clip")}
        rate = {"lr": p["lr"]} if p["optimizer"] == "adam" else {}  # descent: each its own
        found.append((run.index(init=STARTS[0], **same, **rate), i))
    return found


def accuracies(run: Result) -> np.ndarray:
    """At the end, spectral clustering at rank r or r + 1, the better one: (settings, trials)."""
    return np.nan_to_num(np.fmax(run["spectral_acc"][:, -1], run["spectral_acc_r1"][:, -1]))


def accuracy(run: Result, i: int) -> float:
    """Mean of ``accuracies`` over the trials of one setting."""
    return float(accuracies(run)[i].mean())


def faster(run: Result) -> list[Reading]:
    """Both halves of the claim, at each loss that is raced for; then the halves alone."""
    compared = pairs(run)
    usual, mine = (list(found) for found in zip(*compared, strict=True))
    cases = chosen(run, mine)
    steps = np.median(np.nan_to_num(run["reached"], nan=np.inf), 2)
    quick = [steps[mine, k] < (1 - limits.change) * steps[usual, k] for k in range(len(TARGETS))]
    ends = accuracies(run).mean(1)
    better = fewer_errors(ends[mine], ends[usual])
    worse = fewer_errors(ends[usual], ends[mine])
    dead = np.median(run["dead_units"][mine, -1], 1) > 0
    number, unit = float(np.median(ends[mine])), "median accuracy at the end"
    return [
        *(
            Reading(f"both, loss {target:g}‖X‖²", q & better, cases, number=number, unit=unit)
            for target, q in zip(TARGETS, quick, strict=True)
        ),
        Reading("more accurate", better, cases, number=number, unit=unit),
        *(
            Reading(
                f"faster to {target:g}‖X‖²",
                q,
                cases,
                number=float(np.isinf(steps[mine, k]).sum()),
                unit="settings never reach it",
            )
            for k, (target, q) in enumerate(zip(TARGETS, quick, strict=True))
        ),
        Reading("less accurate", worse, cases, counts=False),
        aside("the median network has dead units", dead.sum(), "settings"),
    ]


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
