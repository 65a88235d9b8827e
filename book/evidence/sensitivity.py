"""How sure a verdict is: the trials drawn again, and what half the size says.

The trials of a result are drawn with replacement; the judge reads what was drawn as if it had been
stored. Every trial has seeds of its own for data, noise and weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from evidence.results import Result
from evidence.words import values, varied

Results = Mapping[str, Result]
RESAMPLES = 400  # the share of agreement is then known to one per cent, two standard errors
FEW = 10  # fewer trials than this are named: resampling them can say little
SEED = 0
SIZES = (
    *("ambient_dim", "m", "width", "widths", "hidden", "depth"),
    *("n_subspaces", "subspace_dim", "points_per_subspace", "points_per_cluster"),
)


class Drawn(dict[str, np.ndarray]):
    """The arrays of a result with the drawn trials, each made when it is asked for."""

    def __init__(self, result: Result, index: np.ndarray) -> None:
        self._result, self._index = result, index
        self._blocks = blocks(result)

    def __contains__(self, name: object) -> bool:
        return name in self._result.arrays

    def __missing__(self, name: str) -> np.ndarray:
        found = self._result.arrays[name]
        axis = 0 if self._blocks else self._result.axes.get(name)
        self[name] = found if axis is None else found.take(self._index, axis)
        return self[name]


def blocks(result: Result) -> bool:
    """Whether each setting is a block of trials; the blocks are then what is drawn."""
    return 0 in result.axes.values()


def trials(result: Result) -> int:
    """Number of trials behind a result; 0 where it has none."""
    found = result.config.get("trials")
    return int(found) if isinstance(found, int) and result.axes else 0


def drawn(result: Result, index: np.ndarray) -> Result:
    """The result on these trials, which may repeat."""
    arrays = Drawn(result, index)
    if not blocks(result):
        return replace(result, arrays=arrays)
    settings = [result.settings[i] for i in index]
    return replace(result, arrays=arrays, settings=settings)


def resamples(results: Results, count: int = RESAMPLES) -> Iterator[dict[str, Result]]:
    """``count`` times the results on trials drawn with replacement.

    Results with as many trials share the draw: their trials are the same data, where they are
    compared. A result without trials takes part as it is.
    """
    generator = np.random.default_rng(SEED)
    sizes = {
        name: len(result.settings) if blocks(result) else trials(result)
        for name, result in results.items()
    }
    for _ in range(count):
        index = {n: generator.integers(n, size=n) for n in sorted(set(sizes.values())) if n}
        yield {
            name: drawn(result, index[sizes[name]]) if sizes[name] else result
            for name, result in results.items()
        }


def agreement(
    verdict: Callable[[Results], str], results: Results, count: int = RESAMPLES
) -> dict[str, int]:
    """Verdict → in how many resamples; {} where there are no trials."""
    if not any(trials(result) for result in results.values()):
        return {}
    found: dict[str, int] = {}
    for part in resamples(results, count):
        said = verdict(part)
        found[said] = found.get(said, 0) + 1
    return found


def trials_of(results: Results) -> str:
    """ "100", or "8 (fewer than ten)", of the results with trials."""
    counts = sorted({count for r in results.values() if (count := trials(r))})
    named = " and ".join(map(str, counts))
    return f"{named} (fewer than ten)" if counts and counts[0] < FEW else named


def sizes(results: Results, half: Results, whole: str, found: str) -> str:
    """What half the size says; without it "" where the settings vary the size (see ``varied``)."""
    if not half:
        settings = [p for result in results.values() for p in result.settings]
        varies = any(len(values(settings, key)) > 1 for key in SIZES)
        return f"one size only ({own})" if (own := _size(results)) and not varies else ""
    says = "the same verdict" if found == whole else f"another verdict, {found},"
    return f"{says} at half the size ({_size(half)}; {trials_of(half)} trials)"


def choices(results: Results) -> str:
    """What was varied among the settings."""
    listed = varied([p for result in results.values() for p in result.settings])
    return f"varied: {listed}" if listed else "no setting was varied"


def _size(results: Results) -> str:
    """The sizes in the configs: "ambient dim 400, hidden 80"."""
    known = {key: value for result in results.values() for key, value in result.config.items()}
    found = ((key, known.get(key)) for key in ("ambient_dim", "hidden", "m", "width"))
    return ", ".join(
        f"{key.replace('_', ' ')} {value}" for key, value in found if isinstance(value, int)
    )
