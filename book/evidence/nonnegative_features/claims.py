"""Non-negative features and non-negative starts in practice.

The advice compares, so it is judged by comparisons with the usual start on the same split and from
the same random numbers, each start at its own best rate. "Sweet spot" means three things at once:
structure at the start, speed, accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from evidence.claim import claim
from evidence.criteria import limits
from evidence.nonnegative_features.experiment import LEVELS, POSITIVE, median_interval
from evidence.readings import fewer_errors
from evidence.results import Result
from evidence.verdict import Reading

CLASSES = {"digits": 10, "wine": 3, "breast_cancer": 2}

Point = dict[str, Any]
Case = tuple[Point, str, float | None]  # setting, start, rate


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


class Table:
    """Which index has which setting (all of a point but init and lr), start and rate."""

    def __init__(self, settings: Sequence[Point]) -> None:
        self.settings = settings
        self.rates: dict[tuple[Any, ...], dict[float, int]] = {}
        self.seen: dict[tuple[Any, ...], Point] = {}
        self.plans: dict[tuple[Any, ...], tuple[list[Case], list[Point], np.ndarray]] = {}
        for i, p in enumerate(settings):
            setting = {key: value for key, value in p.items() if key not in ("init", "lr")}
            self.seen.setdefault(_key(setting), setting)
            self.rates.setdefault((p["init"], *_key(setting)), {})[p["lr"]] = i

    _last: ClassVar[Table | None] = None

    @classmethod
    def of(cls, settings: Sequence[Point]) -> Table:
        """The same table for the same list: drawing trials leaves the settings as they are."""
        if cls._last is None or cls._last.settings is not settings:
            cls._last = cls(settings)
        return cls._last


class Race:
    """The stored runs, looked up by setting (all of a point but init and lr), start and rate."""

    def __init__(self, run: Result) -> None:
        self.run = run
        table = Table.of(run.settings)
        self.table, self.seen, self.plans = table.rates, table.seen, table.plans
        self.losses: np.ndarray | None = None
        self.winners: dict[tuple[Any, ...], int] = {}

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
        key = (init, *_key(setting))
        if key not in self.winners:
            self.winners[key] = min(self.table[key].values(), key=lambda i: self.loss(i, -1))
        return self.winners[key]

    def loss(self, i: int, end: int) -> float:
        """Median over the trials, at the start (0) or the end (−1); a diverged one is infinite."""
        if self.losses is None:
            self.losses = median_interval(self.run["loss"][:, [0, -1]])[1]
        return float(self.losses[i, end])

    def target(self, setting: Point) -> int:
        """Index in LEVELS of the loss that is raced for.

        The lowest level at or above the loss at which the usual start on features in [0, 1], at
        its best rate, has ``limits.left`` of its way down still to go.
        """
        i = self.best(setting | {"scaling": "unit"}, "usual")
        first, last = self.loss(i, 0), self.loss(i, -1)
        goal = (last + limits.left * (first - last)) / chance(setting)
        return max(k for k, level in enumerate(LEVELS) if level >= goal or k == 0)

    def epochs(self, i: Any, level: Any) -> np.ndarray:
        """Epochs to a level, (…, trials); one more than were run where it is never reached."""
        reached = self.run["reached"][i, level].astype(float)
        return np.where(reached < 0, self.run["steps"][i, -1][..., None] + 1, reached)

    def scores(self, i: Any) -> np.ndarray:
        """Held-out accuracy at the end, or one less the relative error to reconstruct; (…, trials).

        A trial that diverged scores as one that knows nothing: chance, or an error of one.
        """
        found = self.run["held_out"][i, -1].astype(float)
        points = [self.run.settings[k] for k in np.ravel(i)]
        told = np.reshape([p["objective"] == "classify" for p in points], np.shape(i))
        blind = np.reshape([1 / CLASSES[p["data"]] for p in points], np.shape(i))
        score = np.where(told[..., None], found, 1 - found)
        return np.where(np.isnan(found), np.where(told, blind, 0.0)[..., None], score)

    def plan(
        self, inits: Sequence[str], equal_rates: bool
    ) -> tuple[list[Case], list[Point], np.ndarray]:
        """The cases (setting, init, rate), their different settings, and which each case has.

        rate None: each start at its own best.
        """
        key = (*inits, equal_rates)
        if key not in self.plans:
            settings = self.settings()
            numbered = [
                (k, (setting, init, lr))
                for k, setting in enumerate(settings)
                for init in self.starts(setting)
                if init in inits
                for lr in (self.rates(setting, init) if equal_rates else [None])
            ]
            which = np.array([k for k, _ in numbered])
            self.plans[key] = ([case for _, case in numbered], settings, which)
        return self.plans[key]

    def comparisons(
        self, inits: Sequence[str] = POSITIVE, equal_rates: bool = False
    ) -> list[Comparison]:
        """Starts against the usual one in every setting, at their own rates or at each rate."""
        cases, settings, which = self.plan(inits, equal_rates)
        if not cases:
            return []
        run, less = self.run, 1 - limits.change
        levels = np.array([self.target(setting) for setting in settings])[which]
        i, j = (
            np.array([self._index(s, name or init, lr) for s, init, lr in cases])
            for name in ("", "usual")
        )
        mine, usual = self.epochs(i, levels), self.epochs(j, levels)
        pace, fast, slow = median_interval(mine - usual), np.median(mine, -1), np.median(usual, -1)
        good, other = self.scores(i), self.scores(j)
        gain = median_interval(good - other)
        good, other = np.median(good, -1), np.median(other, -1)
        share, theirs = run["share_r1"][i, 0, -1], run["share_r1"][j, 0, -1]  # last hidden layer
        found = {
            "idle": (run["negative_share"][i, 0, :, 2] <= limits.idle).all(-1),
            "kept": share[:, 0] >= 1 - limits.lost,
            "nearer": share[:, 0] > theirs[:, 2],
            "faster": (pace[2] < 0) & (fast <= less * slow),
            "slower": (pace[0] > 0) & (slow <= less * fast),
            "never": fast > run["steps"][i, -1],
            "better": (gain[0] > 0) & fewer_errors(good, other),
            "worse": (gain[2] < 0) & fewer_errors(other, good),
        }
        return [
            Comparison(setting, init, **{name: bool(true[k]) for name, true in found.items()})
            for k, (setting, init, _) in enumerate(cases)
        ]

    def _index(self, setting: Point, init: str, lr: float | None) -> int:
        return self.best(setting, init) if lr is None else self.rates(setting, init)[lr]


def _key(setting: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(sorted(setting.items()))


def count(found: Sequence[Comparison], name: str) -> int:
    return sum(bool(getattr(c, name)) for c in found)


def practice(run: Result) -> list[Reading]:
    """All three at once: the printed start, then any non-negative one, at its best rate."""
    race = Race(run)
    found, equal = race.comparisons(), race.comparisons(equal_rates=True)
    printed = [c for c in found if c.init == "uniform"]
    readings = [
        Reading(name, [c.all_three for c in among], [described(c) for c in among], noun=COMPARED)
        for name, among in (
            ("uniform (0, 1) in every layer, as printed", printed),
            ("any non-negative start, each at its own best rate", found),
            ("any non-negative start, at equal rates", equal),
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
