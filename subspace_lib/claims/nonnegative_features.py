"""Non-negative features and non-negative starts in practice: chapter 18.

The advice compares, so it is judged by comparisons with the usual start on the same split and from
the same random numbers, each start at its own best rate. "Sweet spot" means three things at once:
structure at the start, speed, accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from subspace_lib.claims._ledger import CONDITIONAL, FAILS, HOLDS, Claim, Judgement, register
from subspace_lib.experiments import Result
from subspace_lib.experiments.nonnegative_features import LEVELS, POSITIVE, median_interval

CHAPTER, RUN = 18, "nonnegative-features"
CLASSES = {"digits": 10, "wine": 3, "breast_cancer": 2}
# Preserved, as in chapters 11 and 16, and idle, as in chapter 12
KEPT, FREE = 0.99, 0.01
# As in chapter 12: a tenth fewer epochs, one point in a hundred. Both also need the 95 % interval
# of the median paired difference to exclude zero.
FASTER, CLOSE = 0.9, 0.01
# The target lies where a tenth of the usual start's descent is left to do: late enough to count
# as learning, early enough not to be about the last digits of a training loss that goes to zero.
LEFT = 0.1

Point = dict[str, Any]


def settings(run: Result) -> list[Point]:
    """The classifiers with bias on features in [0, 1]: data × depth × optimiser."""
    keys = ("data", "scaling", "hidden", "bias", "objective", "optimizer")
    wanted = {"scaling": "unit", "bias": True, "objective": "classify"}
    found: list[Point] = []
    for p in run.points:
        point = {key: p[key] for key in keys}
        if all(p[k] == v for k, v in wanted.items()) and point not in found:
            found.append(point)
    return found


def rates(run: Result, **point: Any) -> list[float]:
    return sorted(p["lr"] for p in run.points if point.items() <= p.items())


def starts(run: Result, **setting: Any) -> list[str]:
    """The initialisations that were run in a setting, the usual one first."""
    return list(dict.fromkeys(p["init"] for p in run.points if setting.items() <= p.items()))


def _end(run: Result, i: int) -> float:
    """Median training loss at the end; diverged trials count as infinite."""
    return float(median_interval(run["loss"][i, -1])[1])


def best(run: Result, **point: Any) -> int:
    """Index of the rate with the lowest median training loss at the end; held-out plays no part."""
    return min(
        (run.index(**point, lr=lr) for lr in rates(run, **point)), key=lambda i: _end(run, i)
    )


def chance(point: Mapping[str, Any]) -> float:
    """Loss of a constant prediction: log K, or 1 when ‖X‖² is the unit."""
    return float(np.log(CLASSES[point["data"]])) if point["objective"] == "classify" else 1.0


def target(run: Result, **setting: Any) -> int:
    """Index in LEVELS of the loss that is raced for.

    The lowest level at or above the loss at which the usual start, at its best rate, has LEFT of
    its way down still to go; features in [0, 1], whatever the scaling compared.
    """
    i = best(run, **setting | {"scaling": "unit"}, init="usual")
    first, last = (float(median_interval(run["loss"][i, t])[1]) for t in (0, -1))
    goal = last + LEFT * (first - last)
    return max(k for k, level in enumerate(LEVELS) if level * chance(setting) >= goal or k == 0)


def epochs(run: Result, i: int, level: int) -> np.ndarray:
    """Epochs to a level, (trials,); one more than were run where it is never reached."""
    reached = run["reached"][i, level].astype(float)
    return np.where(reached < 0, run["steps"][i, -1] + 1, reached)


@dataclass(frozen=True)
class Comparison:
    """One start against the usual one in one setting."""

    setting: Point
    init: str
    idle: bool
    kept: bool
    nearer: bool
    faster: bool
    slower: bool
    never: bool
    better: bool
    worse: bool

    @property
    def all_three(self) -> bool:
        return self.nearer and self.faster and self.better


def compare(run: Result, setting: Point, init: str, lr: float | None = None) -> Comparison:
    """lr: the same rate for both, or None: each at its own best one."""
    if lr is None:
        i, j = (best(run, **setting, init=name) for name in (init, "usual"))
    else:
        i, j = (run.index(**setting, init=name, lr=lr) for name in (init, "usual"))
    level = target(run, **setting)
    mine, usual = epochs(run, i, level), epochs(run, j, level)
    pace = median_interval(mine - usual)
    # a trial that diverged answers at chance, as one that died does
    scores = np.nan_to_num(run["held_out"][:, -1], nan=1 / CLASSES[setting["data"]])
    gain = median_interval(scores[i] - scores[j])
    share, other = run["share_r1"][i, 0, -1], run["share_r1"][j, 0, -1]  # last hidden layer
    return Comparison(
        setting,
        init,
        idle=bool((run["negative_share"][i, 0, :, 2] <= FREE).all()),
        kept=bool(share[0] >= KEPT),
        nearer=bool(share[0] > other[2]),
        faster=bool(pace[2] < 0 and np.median(mine) <= FASTER * np.median(usual)),
        slower=bool(pace[0] > 0 and np.median(usual) <= FASTER * np.median(mine)),
        never=bool(np.median(mine) > run["steps"][i, -1]),
        better=bool(gain[0] > 0 and gain[1] >= CLOSE),
        worse=bool(gain[2] < 0 and gain[1] <= -CLOSE),
    )


def comparisons(run: Result, lr: float | None = None) -> Iterator[Comparison]:
    """Every non-negative start in every setting; lr: only those where both ran at that rate."""
    for setting in settings(run):
        for init in starts(run, **setting):
            if init in POSITIVE and (lr is None or lr in rates(run, **setting, init=init)):
                yield compare(run, setting, init, lr)


def count(found: list[Comparison], name: str) -> int:
    return sum(bool(getattr(c, name)) for c in found)


def practice(results: Mapping[str, Result]) -> Judgement:
    """Holds: one start wins all three everywhere. Conditional: somewhere. Fails: nowhere."""
    found = list(comparisons(results[RUN]))
    everywhere = [
        init for init in POSITIVE
        if (own := [c for c in found if c.init == init]) and all(c.all_three for c in own)
    ]  # fmt: skip
    wins = count(found, "all_three")
    printed = [c for c in found if c.init == "uniform"]
    verdict = HOLDS if everywhere else CONDITIONAL if wins else FAILS
    return Judgement(
        verdict,
        f"structure at the start: ReLU is idle in {count(found, 'idle')} of {len(found)} "
        f"comparisons with the usual start, more of P_r(X) is in the top r + 1 in "
        f"{count(found, 'nearer')}, 99 % of it in {count(found, 'kept')}; speed: fewer epochs in "
        f"{count(found, 'faster')}, more in {count(found, 'slower')}, the target never reached in "
        f"{count(found, 'never')}; accuracy on held-out points: higher in "
        f"{count(found, 'better')}, lower in {count(found, 'worse')}; all three at once in {wins}. "
        f"Uniform (0, 1) in every layer, as printed: faster in {count(printed, 'faster')} of "
        f"{len(printed)}, more accurate in {count(printed, 'better')}, less in "
        f"{count(printed, 'worse')}",
    )


register(
    Claim(
        "nonnegative-practice",
        "Non-negative features with non-negative initialisation are the sweet spot in practice.",
        CHAPTER,
        (RUN,),
        practice,
    )
)
