"""Claims about the non-negative initialisation."""

from __future__ import annotations

import numpy as np

from evidence.claim import claim
from evidence.criteria import limits
from evidence.nonnegative.experiment import KINDS, STARTS, TARGETS
from evidence.nonnegative.hessian import ZERO
from evidence.nonnegative.race import LEVELS
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


RACED = (0.8, 0.6, 0.4, 0.3)  # of LEVELS, those that the row names


def without_noise(link: Result | None) -> list[Reading]:
    """From P(WX) to P(Y) with all noise that was tried, then from P(X*) to P(Y) without any."""
    if link is None:
        return []
    own = [i for i, p in enumerate(link.settings) if p["init"] != STARTS[0]]
    clean = [i for i in own if link.settings[i]["variance"] == 0]
    readings = []
    for name, pair, among in (
        ("P(WX) to P(Y)", "pre", own),
        ("X* to Y without noise", "clean", clean),
    ):
        far = link[f"{pair}_to_post_spectral"][among]
        readings.append(
            Reading(
                name,
                mostly(far <= limits.near),
                chosen(link, among),
                number=float(np.median(far, 1).min()),
                unit="the least median distance, spectral norm",
            )
        )
    return readings


def free(run: Result, nonnegative_link: Result | None = None) -> list[Reading]:
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
    return [*readings, link, *without_noise(nonnegative_link), *beside]


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
    usual = [i for i in range(len(run.settings)) if i not in own]
    clipped = [i for i in usual if run.settings[i]["clip"]]
    definite = run["encoder_lowest"][:, 0] > ZERO * run["encoder_highest"][:, 0]
    still = run["encoder_gradient"][own, 0]
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
        Reading(
            "in W alone",
            mostly((still < limits.flat) & definite[own]),
            cases,
            number=float(still.min()),
            unit="the least ‖g_W‖‖θ‖/L",
        ),
        aside("Hessian in W alone", definite[own].mean(), "of the starts have a definite one"),
        aside("… usual starts", definite[usual].mean(), "have one"),
        aside("… usual starts on X ≥ 0", definite[clipped].mean(), "have one"),
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


def raced(run: Result | None) -> tuple[list[Reading], list[Reading], list[Reading]]:
    """Weights of mean one over the fan-in against the usual ones: both halves of the claim at each
    loss, more accurate, faster to each loss.
    """
    if run is None:
        return [], [], []
    usual, mine = (list(found) for found in zip(*pairs(run), strict=True))
    cases, ends = chosen(run, mine), accuracies(run).mean(1)
    better = fewer_errors(ends[mine], ends[usual])
    both, quick = [], []
    for level in RACED:
        steps = np.median(np.nan_to_num(run["reached"][:, LEVELS.index(level)], nan=np.inf), 1)
        sooner = steps[mine] < (1 - limits.change) * steps[usual]
        both.append(Reading(f"weights of mean 1/f, both, {level:g}‖X‖²", sooner & better, cases))
        quick.append(Reading(f"weights of mean 1/f, faster to {level:g}‖X‖²", sooner, cases))
    return both, [Reading("weights of mean 1/f, more accurate", better, cases)], quick


def faster(run: Result, nonnegative_race: Result | None = None) -> list[Reading]:
    """Both halves of the claim, at each loss that is raced for; then the halves alone. Chapter 22's
    gentlest weights come after the paper's and its relatives.
    """
    both, more, sooner = raced(nonnegative_race)
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
        *both,
        Reading("more accurate", better, cases, number=number, unit=unit),
        *more,
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
        *sooner,
        Reading("less accurate", worse, cases, counts=False),
        aside("the median network has dead units", dead.sum(), "settings"),
    ]


claim(
    "nonnegative-free",
    r"Non-negative $W$ preserves the structure from the start: distance $\approx0$ at $s^2=0.5$.",
    free,
    "nonnegative",
    optional=("nonnegative-link",),
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
    optional=("nonnegative-race",),
)
