"""Real data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from evidence.claim import claim
from evidence.criteria import limits
from evidence.datasets import TABLE
from evidence.readings import kept
from evidence.results import Result
from evidence.verdict import Reading, aside

# Judged in the last hidden layer, at the paper's four dimensions per class, on the training half,
# features scaled to 0..1, biases, Adam.
DEFAULT = {"scaling": "unit", "bias": True, "optimizer": "adam"}
TRAIN, HELD_OUT, LAST, AT_K, AT_4K = 0, 1, -1, 0, 1
SIDES = {HELD_OUT: "held-out samples", TRAIN: "training samples"}
WHERE = ("data", "objective", *DEFAULT)

Runs = Sequence[Result]


def rows(runs: Runs, default: bool = True) -> Iterator[tuple[Result, int]]:
    """Settings that were run: the result and the index in it."""
    for run in runs:
        ran = run.arrays.get("ran") if "ran" in run.arrays else None
        for i, setting in enumerate(run.settings):
            if (ran is None or ran[i]) and (not default or DEFAULT.items() <= setting.items()):
                yield run, i


def caveat(run: Result, i: int) -> str:
    """What the card of a setting says of its data beside the name: "10 of 47 classes", or "".

    A part of a data set, and a lossy copy, must not go under the name of the whole.
    """
    lines = str(run["card"][i]).splitlines() if "card" in run.arrays else []
    card = dict(line.split(maxsplit=1) for line in lines)
    found = ", ".join(card[key] for key in ("part", "lossy") if key in card)
    return found.replace(" (JPEG)", "")  # it stands in brackets itself


def data_name(run: Result, i: int) -> str:
    name, more = run.settings[i]["data"], caveat(run, i)
    return f"{name} ({more})" if more else str(name)


def titles(run: Result) -> dict[str, str]:
    """The image sets that were run and how they are to be called, "DTD (10 of 47 classes)"."""
    found = {}
    for _, i in rows([run], False):
        name, more = run.settings[i]["data"], caveat(run, i)
        found[name] = f"{TABLE[name].title} ({more})" if more else TABLE[name].title
    return found


def named(runs: Runs, default: bool = True) -> list[dict[str, Any]]:
    return [
        {key: run.settings[i][key] for key in WHERE} | {"data": data_name(run, i)}
        for run, i in rows(runs, default)
    ]


def last(runs: Runs, name: str, rank: int, default: bool = True) -> list[np.ndarray]:
    """A quantity of the last hidden layer at the end, (settings, trials) of each result."""
    found = [[i for other, i in rows([run], default)] for run in runs]
    pairs = zip(runs, found, strict=True)
    return [run[name][:, -1, :, TRAIN, LAST, rank][own] for run, own in pairs if own]


def reading(name: str, runs: Runs, rank: int, default: bool = True) -> Reading:
    """Preserved by the book's definition, with the median share over all settings."""
    share = last(runs, "share1", rank, default)
    middle = float(np.median(np.concatenate([np.median(own, 1) for own in share])))
    found = np.concatenate([kept(own) for own in share])
    return Reading(name, found, named(runs, default), number=middle, unit="median share")


def preserving(*runs: Result) -> list[Reading]:
    """At r = 4K in the default setting, in every setting, and at r = K in every setting."""
    printed = sum(float(run["printed_holds"][i, 0].sum()) for run, i in rows(runs, False))
    alone = sum(int(kept(own).sum()) for own in last(runs, "share_r1", 0, False))
    return [
        reading("r = 4K, features in [0, 1], bias, Adam", runs, AT_4K),
        reading("r = 4K, every scaling and optimizer", runs, AT_4K, False),
        reading("r = K, every scaling and optimizer", runs, AT_K, False),
        aside("r = 1, the mean profile alone", alone, "settings preserve it"),
        aside("δ > η", printed, "networks"),
    ]


def best(run: Result, i: int, side: int) -> np.ndarray:
    """ACC, NMI, ARI of the last layer, medians over the seeds; rank and method by the lowest."""
    medians = np.median(run["scores"][i, -1, :, side, LAST], 0)  # (ranks, methods, scores)
    flat = medians.reshape(-1, medians.shape[-1])
    return flat[flat.min(1).argmax()]


def scores(*runs: Result) -> list[Reading]:
    """A data set counts under the objective that suits it; held-out samples, then training ones."""
    readings = []
    for side, words in SIDES.items():
        top: dict[str, float] = {}
        for run, i in rows(runs):
            name = data_name(run, i)
            top[name] = max(top.get(name, 0.0), float(best(run, i, side).min()))
        readings.append(
            Reading(
                f"lowest of ACC, NMI and ARI, {words}",
                [value >= 1 - limits.nearly for value in top.values()],
                [{"data": name.replace("_", " ")} for name in top],
                number=min(top.values()),
                unit="on the hardest data set",
                noun="data sets",
            )
        )
    return readings


claim(
    "real-data-preserve",
    "Five-layer ReLU networks preserve the cluster structure of a dozen real data sets.",
    preserving,
    "real-data",
    "real-data-hub",
)
claim(
    "real-data-scores",
    "ACC, NMI and ARI on these data sets are perfect or nearly so.",
    scores,
    "real-data",
    "real-data-hub",
)
