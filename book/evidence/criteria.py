"""Every threshold of every judge, once, with its reason.

Each is a tolerance: zero would mean "exactly", so that moving it by a fifth (see ``FIFTH``) means
the same for all of them. ``limits.change`` is a value; ``claim`` moves one after the other and
judges again. What a threshold bounds is relative: to the trials, to the largest possible value, to
what is compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Threshold:
    value: float
    means: str
    reason: str


THRESHOLDS = {
    # shares of the trials
    "exceptions": Threshold(
        0.1,
        "a setting does what nine of ten of its trials do",
        "one trial in ten may be an accident of the draw",
    ),
    "often": Threshold(0.5, "frequently: in every second trial", "the paper's word, taken mildly"),
    # what is compared
    "change": Threshold(
        0.1,
        "falls, rises, is faster, has fewer errors: by a tenth of what was there",
        "less is within what one trial differs from the next",
    ),
    "close": Threshold(
        0.01,
        "as good as: a hundredth of the better score is missing",
        "one point in a hundred is four of the 400 points of a data set",
    ),
    # what is left of the signal
    "lost": Threshold(
        0.01,
        "preserves: at most a hundredth of P(X*) is outside the leading r + 1 directions",
        "the largest of r = 16 angles is then below 24 degrees, and one more direction may be "
        "taken by what all points share",
    ),
    "angle": Threshold(
        0.5,
        "near at equal ranks: spectral distance, the sine of the largest angle",
        "every principal angle at 30 degrees or less",
    ),
    "near": Threshold(
        0.1,
        "a distance is zero, or as large as it can be, up to a tenth of the largest possible",
        "the resolution at which a figure is read",
    ),
    # clusterings
    "wrong": Threshold(
        0.1, "clusters well: a tenth of the points wrong, in the median", "nine points in ten"
    ),
    "nearly": Threshold(
        0.05,
        "perfect or nearly so: ACC, NMI and ARI, in the median, miss one by at most this",
        "one point in twenty, which the word nearly hardly covers",
    ),
    # noise and depth
    "realistic": Threshold(
        0.01,
        "realistic noise: variance relative to the signal's energy",
        "one per cent; the paper's own experiments use ten",
    ),
    "level": Threshold(
        0.01,
        "a bound does not grow: by less than this from the first layer to the last",
        "rounding and the median over trials; a factor L would be 1900 per cent",
    ),
    # non-negative starts
    "idle": Threshold(0.01, "ReLU is idle: acts on one pre-activation in a hundred", "as lost"),
    "flat": Threshold(
        1e-3,
        "zero gradient: ‖g‖‖θ‖/L",
        "moving the weights by their own size changes the loss by a thousandth",
    ),
    "left": Threshold(
        0.1,
        "the loss that is raced for: this part of the usual start's descent is left",
        "late enough to count as learning, early enough not to be about the last digits",
    ),
    # relations between measures
    "connected": Threshold(
        0.5,
        "two measures go together: Spearman's rank correlation over trained networks",
        "a quarter of the ranks' variance is shared",
    ),
    # the rule itself
    "disagree": Threshold(
        0.05,
        "a verdict is decided: at most this share of the resamples gives another",
        "the usual level of a test",
    ),
}

FIFTH = (0.8, 1.2)  # each threshold is moved by these factors, alone


class Limits:
    """The thresholds as attributes: their values, moved where ``moved`` says so."""

    def __init__(self) -> None:
        self._factors: dict[str, float] = {}
        self._seen: set[str] = set()

    def __getattr__(self, name: str) -> float:
        if name not in THRESHOLDS:
            raise AttributeError(
                f"no threshold {name!r}; evidence/criteria.py has {', '.join(THRESHOLDS)}"
            )
        self._seen.add(name)
        return THRESHOLDS[name].value * self._factors.get(name, 1.0)

    @contextmanager
    def moved(self, name: str, factor: float) -> Iterator[None]:
        """One threshold times a factor, within the block. ValueError for an unknown one."""
        if name not in THRESHOLDS:
            raise ValueError(f"threshold must be one of {', '.join(THRESHOLDS)}, got {name!r}")
        before, self._factors = self._factors, self._factors | {name: factor}
        try:
            yield
        finally:
            self._factors = before

    @contextmanager
    def watched(self) -> Iterator[set[str]]:
        """The names of the thresholds that are looked at within the block."""
        before, self._seen = self._seen, set()
        try:
            yield self._seen
        finally:
            self._seen = before | self._seen


limits = Limits()
