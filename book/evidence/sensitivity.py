"""How sure a verdict is: judged again on disjoint groups of trials, and over what was varied."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from evidence.results import Result

Results = Mapping[str, Result]
Settings = Sequence[Mapping[str, Any]]
Verdict = Callable[[Results], str]
GROUPS = {2: "halves", 10: "tenths"}  # numbers of groups → what one is called
SMALLEST = 2  # trials in a group
SIZES = (
    *("ambient_dim", "m", "width", "widths", "hidden", "depth"),
    *("n_subspaces", "subspace_dim", "points_per_subspace", "points_per_cluster"),
)
LISTED = 4  # more values of a setting than this are given as a range
OTHER = ("first", "trials", "trial", "seed", "steps")  # keys of a setting that are no choice

PROVED = "proved: no dependence on seed or size"
COUNTEREXAMPLE = "settled by a counterexample: no dependence on seed or size"
CONDITIONS = "proved under the named conditions: no dependence on seed or size"


def split(result: Result, count: int) -> list[Result] | None:
    """The result on ``count`` disjoint groups of its trials, equally large; leftovers are dropped.

    The trials lie along ``result.axes``; arrays without such an axis (steps, seconds) go into every
    group as they are. Axis 0: each setting is a block of trials, and the settings are split.
    None where there are no trials, or fewer than SMALLEST to a group.
    """
    blocks = 0 in result.axes.values()
    size = (len(result.settings) if blocks else trials(result)) // count
    found = []
    for chosen in (range(g * size, (g + 1) * size) for g in range(count)):
        axes = dict.fromkeys(result.arrays, 0) if blocks else result.axes
        arrays = {
            name: values.take(chosen, axes[name]) if name in axes else values
            for name, values in result.arrays.items()
        }
        settings = [result.settings[i] for i in chosen] if blocks else result.settings
        number = sum(s["trials"] for s in settings) if blocks else size
        config = result.config | {"trials": number}
        found.append(replace(result, config=config, settings=settings, arrays=arrays))
        if number < SMALLEST:
            return None
    return found if result.axes else None


def halves(result: Result) -> list[Result] | None:
    """The first and the second half of the trials; see ``split``."""
    return split(result, 2)


def seeds(verdict: Verdict, results: Results, whole: str) -> str:
    """Whether the verdict stays on halves and on tenths of the trials, as a sentence; "" without.

    Every trial has seeds of its own for data, noise and weights. A result without trials takes part
    as it is.
    """
    counts = sorted({t for r in results.values() if (t := trials(r))})
    parts = []
    for count, name in GROUPS.items():
        groups = {key: split(result, count) for key, result in results.items()}
        if not any(groups.values()):
            continue
        found = [
            verdict({key: found[g] if found else results[key] for key, found in groups.items()})
            for g in range(count)
        ]
        same = found.count(whole)
        others = sorted({v for v in found if v != whole})
        parts.append(
            f"{same} of {count} {name}" + (f" (else: {', '.join(others)})" if others else "")
        )
    if not parts:
        return ""
    listed = " and ".join(map(str, counts))
    return f"the same verdict in {' and '.join(parts)} of {listed} trials"


def trials(result: Result) -> int:
    """Number of trials behind a result; 0 where it has none."""
    return int(found) if isinstance(found := result.config.get("trials"), int) else 0


def values(settings: Settings, key: str) -> list[Any]:
    """The different values of a setting, sorted."""
    found = {p[key] for p in settings if isinstance(p.get(key), (str, int, float))}
    return sorted(found, key=lambda v: (isinstance(v, str), v))


def varied(settings: Settings) -> str:
    """The settings that differ among them: "lr 0.001, 0.003; bias no, yes"."""
    keys = [key for key in _keys(settings) if len(values(settings, key)) > 1]
    return "; ".join(f"{_text(key)} {_range(values(settings, key))}" for key in keys)


def tally(settings: Settings, chosen: Sequence[int], good: Sequence[int]) -> str:
    """In how many of the chosen settings the claim is true, for each value of each setting.

    chosen, good: indices of settings; good is a part of chosen.
    """
    among = [settings[i] for i in chosen]
    if len(good) in (0, len(chosen)):
        return f"true in {'all' if good else 'none'} of {len(chosen)} settings ({varied(among)})"
    parts = []
    for key in _keys(among):
        found = values(among, key)
        if not 1 < len(found) <= LISTED:
            continue
        shares = ", ".join(
            f"{_value(v)} {_count(settings, good, key, v)}/{_count(settings, chosen, key, v)}"
            for v in found
        )
        parts.append(f"{_text(key)} {shares}")
    return f"true in {len(good)} of {len(chosen)} settings: {'; '.join(parts)}"


def sizes(verdict: Verdict, results: Results, whole: str, half: Results) -> str:
    """What half the size says; without it "" where the settings vary the size (see ``varied``)."""
    if not half:
        settings = [p for result in results.values() for p in result.settings]
        varies = any(len(values(settings, key)) > 1 for key in SIZES)
        return f"one size only ({own})" if (own := _size(results)) and not varies else ""
    found = verdict(half)
    says = "the same verdict" if found == whole else f"another verdict, {found},"
    listed = " and ".join(str(t) for t in sorted({trials(r) for r in half.values()}))
    return f"{says} at half the size ({_size(half)}; {listed} trials)"


def _size(results: Results) -> str:
    """The sizes in the configs: "ambient dim 400, hidden 80"."""
    known = {key: value for result in results.values() for key, value in result.config.items()}
    found = ((key, known.get(key)) for key in ("ambient_dim", "hidden", "m", "width"))
    return ", ".join(f"{_text(key)} {value}" for key, value in found if isinstance(value, int))


def sensitivity(
    verdict: Verdict, results: Results, whole: str, said: str = "", half: Results | None = None
) -> str:
    """Everything the stored results say about how far a verdict depends on what was chosen.

    said: what the judge itself has to say about the settings, in place of their list; where there
    are no trials either (a proof), it is all there is to say. half: the same experiments at half
    the size, where they are stored.
    """
    settings = [p for result in results.values() for p in result.settings]
    choices = said or (f"varied: {listed}" if (listed := varied(settings)) else "")
    tried = seeds(verdict, results, whole)
    if said and not tried:
        return said
    parts = [tried or "seeds were not varied", choices or "no setting was varied"]
    parts.append(sizes(verdict, results, whole, half or {}))
    return "; ".join(part for part in parts if part)


def _keys(settings: Settings) -> list[str]:
    """Settings in the order of their first appearance."""
    found = dict.fromkeys(key for setting in settings for key in setting)
    return [key for key in found if key not in OTHER]


def _count(settings: Settings, chosen: Sequence[int], key: str, value: Any) -> int:
    return sum(settings[i].get(key) == value for i in chosen)


def _text(key: str) -> str:
    return {"lr": "rate", "log10_variance": "log₁₀ of the noise"}.get(key, key.replace("_", " "))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, (int, float, np.number)) else str(value)


def _range(found: Sequence[Any]) -> str:
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in found)
    if numbers and len(found) > LISTED:
        return f"{_value(found[0])} to {_value(found[-1])}, {len(found)} values"
    return ", ".join(map(_value, found)) if len(found) <= 2 * LISTED else f"{len(found)} values"
