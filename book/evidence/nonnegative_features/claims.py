"""Non-negative features and non-negative starts in practice.

The advice compares, so it is judged by comparisons with the usual start on the same split and from
the same random numbers, each start at its own best rate. "Sweet spot" means three things at once:
structure at the start, speed, accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evidence.claim import claim
from evidence.criteria import limits
from evidence.nonnegative_features.experiment import LEVELS, POSITIVE, median_interval
from evidence.readings import fewer_errors
from evidence.results import Result
from evidence.verdict import Reading

CLASSES = {"digits": 10, "wine": 3, "breast_cancer": 2}

Point = dict[str, Any]


def chance(point: Mapping[str, Any]) -> float:
    """Loss of a constant prediction: log K, or 1 when ‖X‖² is the unit."""
    return float(np.log(CLASSES[point["data"]])) if point["objective"] == "classify" else 1.0


@dataclass(frozen=True)
class Comparison:
    """One start against the usual one in one setting.

    faster, better and their opposites: by a tenth of the epochs, of the error; and the 95 %
    interval of the median paired difference excludes zero.
    """

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


class Race:
    """The stored runs, looked up by setting (all of a point but init and lr), start and rate."""

    def __init__(self, run: Result) -> None:
        self.run = run
        self.table: dict[tuple[Any, ...], dict[float, int]] = {}
        self.seen: dict[tuple[Any, ...], dict[str, Any]] = {}
        self.medians: dict[str, np.ndarray] = {}
        for i, p in enumerate(run.settings):
            setting = {key: value for key, value in p.items() if key not in ("init", "lr")}
            self.seen.setdefault(_key(setting), setting)
            self.table.setdefault((p["init"], *_key(setting)), {})[p["lr"]] = i

    def settings(self, **wanted: Any) -> list[Point]:
        """By default the networks with bias on features in [0, 1], both objectives."""
        wanted = wanted or {"scaling": "unit", "bias": True}
        return [s for s in self.seen.values() if wanted.items() <= s.items()]

    def starts(self, setting: Point) -> list[str]:
        """The initialisations that were run in a setting."""
        return [init for init, *key in self.table if tuple(key) == _key(setting)]

    def rates(self, setting: Point, init: str) -> dict[float, int]:
        """Learning rate → index of the point."""
        return self.table[(init, *_key(setting))]

    def best(self, setting: Point, init: str) -> int:
        """The rate with the lowest median training loss at the end; held-out plays no part."""
        return min(self.rates(setting, init).values(), key=lambda i: self.median("loss", i))

    def median(self, name: str, i: int, checkpoint: int = -1) -> float:
        """Over the trials; a diverged one counts as infinite."""
        if name not in self.medians:
            self.medians[name] = median_interval(self.run[name])[1]  # (settings, checkpoints)
        return float(self.medians[name][i, checkpoint])

    def target(self, setting: Point) -> int:
        """Index in LEVELS of the loss that is raced for.

        The lowest level at or above the loss at which the usual start on features in [0, 1], at
        its best rate, has ``limits.left`` of its way down still to go.
        """
        i = self.best(setting | {"scaling": "unit"}, "usual")
        first, last = self.median("loss", i, 0), self.median("loss", i)
        goal = (last + limits.left * (first - last)) / chance(setting)
        return max(k for k, level in enumerate(LEVELS) if level >= goal or k == 0)

    def epochs(self, i: int, level: int) -> np.ndarray:
        """Epochs to a level, (trials,); one more than were run where it is never reached."""
        reached = self.run["reached"][i, level].astype(float)
        return np.where(reached < 0, self.run["steps"][i, -1] + 1, reached)

    def scores(self, i: int) -> np.ndarray:
        """Held-out accuracy at the end, or one less the relative error to reconstruct; (trials,).

        A trial that diverged scores as one that knows nothing: chance, or an error of one.
        """
        point, found = self.run.settings[i], self.run["held_out"][i, -1].astype(float)
        if point["objective"] == "classify":
            return np.nan_to_num(found, nan=1 / CLASSES[point["data"]])
        return 1 - np.nan_to_num(found, nan=1.0)

    def compare(self, setting: Point, init: str, lr: float | None = None) -> Comparison:
        """lr: the same rate for both, or None: each at its own best one."""
        run, level = self.run, self.target(setting)
        i, j = (
            self.best(setting, name) if lr is None else self.rates(setting, name)[lr]
            for name in (init, "usual")
        )
        mine, usual = self.epochs(i, level), self.epochs(j, level)
        pace = median_interval(mine - usual)
        good, other = self.scores(i), self.scores(j)
        gain = median_interval(good - other)
        good, other = np.median(good), np.median(other)
        less = 1 - limits.change
        share, theirs = run["share_r1"][i, 0, -1], run["share_r1"][j, 0, -1]  # last hidden layer
        return Comparison(
            setting,
            init,
            idle=bool((run["negative_share"][i, 0, :, 2] <= limits.idle).all()),
            kept=bool(share[0] >= 1 - limits.lost),
            nearer=bool(share[0] > theirs[2]),
            faster=bool(pace[2] < 0 and np.median(mine) <= less * np.median(usual)),
            slower=bool(pace[0] > 0 and np.median(usual) <= less * np.median(mine)),
            never=bool(np.median(mine) > run["steps"][i, -1]),
            better=bool(gain[0] > 0 and fewer_errors(good, other)),
            worse=bool(gain[2] < 0 and fewer_errors(other, good)),
        )

    def comparisons(
        self, inits: Sequence[str] = POSITIVE, equal_rates: bool = False
    ) -> list[Comparison]:
        """Starts against the usual one in every setting, at their own rates or at each rate."""
        return [
            self.compare(setting, init, lr)
            for setting in self.settings()
            for init in self.starts(setting)
            if init in inits
            for lr in (self.rates(setting, init) if equal_rates else [None])
        ]


def _key(setting: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted(setting.items()))


def count(found: Sequence[Comparison], name: str) -> int:
    return sum(bool(getattr(c, name)) for c in found)


def practice(run: Result) -> list[Reading]:
    """All three at once: the printed start, then any non-negative one, at its best rate."""
    race = Race(run)
    found = race.comparisons()
    printed = [c for c in found if c.init == "uniform"]
    readings = [
        Reading(name, [c.all_three for c in among], [described(c) for c in among], noun=COMPARED)
        for name, among in (
            ("uniform (0, 1) in every layer, as printed", printed),
            ("any non-negative start, each at its own best rate", found),
        )
    ]
    beside = [
        Reading(words, [getattr(c, name) for c in found], noun=COMPARED, counts=False)
        for name, words in BESIDE.items()
    ]
    return [*readings, *beside]


COMPARED = "comparisons with the usual start"
BESIDE = {
    "idle": "ReLU is idle",
    "nearer": "more of P_r(X) in the top r + 1 at the start",
    "kept": "99 % of it",
    "faster": "fewer epochs",
    "slower": "more epochs",
    "never": "the target never reached",
    "better": "more accurate on held-out points",
    "worse": "less accurate",
}


def described(c: Comparison) -> dict[str, Any]:
    """What was compared, as a setting."""
    keys = ("data", "objective", "hidden", "optimizer")
    return {"init": c.init, **{key: c.setting[key] for key in keys if key in c.setting}}


def kind_of(setting: Mapping[str, Any]) -> str:
    """What a network is trained for, and how deep it is."""
    if setting["objective"] != "classify":
        return "autoencoders"
    return f"classifiers with {setting['hidden']} hidden"


claim(
    "nonnegative-practice",
    "Non-negative features with non-negative initialisation are the sweet spot in practice.",
    practice,
    "nonnegative-features",
)
