"""Settings in words: what was varied, in which of them something is true, what those share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Settings = Sequence[Mapping[str, Any]]
LISTED = 4  # more values of a setting than this are given as a range
OTHER = ("first", "trials", "trial", "seed", "steps")  # keys of a setting that are no choice


def values(settings: Settings, key: str) -> list[Any]:
    """The different values of a setting, sorted."""
    found = {p[key] for p in settings if isinstance(p.get(key), (str, int, float))}
    return sorted(found, key=lambda v: (isinstance(v, str), v))


def varied(settings: Settings) -> str:
    """The settings that differ among them: "rate 0.001, 0.003; bias no, yes"."""
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


def common(settings: Settings, good: Sequence[int]) -> str:
    """What the good settings share and not all settings do: "bias yes; rate 0.0003 to 0.003".

    A necessary condition among the values tried, no more: where it is not sufficient, the count
    beside it says so.
    """
    parts = []
    for key in _keys(settings) if good else ():
        everywhere = values(settings, key)
        here = values([settings[i] for i in good], key)
        if len(everywhere) > 1 and here and len(here) < len(everywhere):
            parts.append(f"{_text(key)} {_range(here)}")
    return "; ".join(parts)


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
    number = isinstance(value, (int, float, np.number))
    return f"{value:g}".replace("-", "−") if number else str(value)


def _range(found: Sequence[Any]) -> str:
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in found)
    if numbers and len(found) > LISTED:
        return f"{_value(found[0])} to {_value(found[-1])}, {len(found)} values"
    return ", ".join(map(_value, found)) if len(found) <= 2 * LISTED else f"{len(found)} values"
