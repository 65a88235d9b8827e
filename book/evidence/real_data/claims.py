"""Real data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from evidence.claim import Judgement, claim
from evidence.criteria import KEPT, NEARLY
from evidence.readings import by_count, mostly
from evidence.results import Result

# Judged in the last hidden layer, at the paper's four dimensions per class, on the training half,
# features scaled to 0..1, biases, Adam.
DEFAULT = {"scaling": "unit", "bias": True, "optimizer": "adam"}
TRAIN, HELD_OUT, LAST, AT_4K = 0, 1, -1, 1


def rows(
    runs: Sequence[Result], default: bool = True
) -> Iterator[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Points that were run, with their arrays."""
    for run in runs:
        for point in run.settings:
            arrays = run.at(**point)
            if arrays.get("ran", True) and (not default or DEFAULT.items() <= point.items()):
                yield point, arrays


def kept(arrays: Mapping[str, np.ndarray], rank: int = AT_4K, side: int = TRAIN) -> np.ndarray:
    """Share of P_r(X) in the top r + 1 directions of the last hidden layer; (trials,)."""
    return arrays["share1"][-1, :, side, LAST, rank]


def preserved(arrays: Mapping[str, np.ndarray], rank: int = AT_4K) -> bool:
    return bool(mostly(kept(arrays, rank) >= KEPT))


def preserving(*runs: Result) -> Judgement:
    """Every data set under both objectives, or some, or none."""
    found = [(p, preserved(a), float(np.median(kept(a)))) for p, a in rows(runs)]
    held = [p for p, yes, _ in found if yes]
    ranges = {
        o: [v for p, _, v in found if p["objective"] == o] for o in ("reconstruct", "classify")
    }
    variants = list(rows(runs, default=False))
    at_k = sum(preserved(a, 0) for _, a in variants)
    at_4k = sum(preserved(a, 1) for _, a in variants)
    printed = sum(int((a["printed_holds"][0] > 0).sum()) for _, a in variants)
    single = sum(int(mostly(a["share_r1"][-1, :, TRAIN, LAST, 0] >= KEPT)) for _, a in variants)
    sets = len({p["data"] for p, _, _ in found})
    return Judgement(
        by_count(len(held), len(found)),
        f"99 % of P_r(X), r = 4K, in the top r + 1 directions of the fifth layer: {len(held)} of "
        f"{len(found)} (data set, objective) pairs on {sets} data sets; medians "
        f"{min(ranges['reconstruct']):.2f}–{max(ranges['reconstruct']):.2f} when reconstructing, "
        f"{min(ranges['classify']):.2f}–{max(ranges['classify']):.2f} when classifying. With other "
        f"scalings, optimisers and without bias {at_4k} of {len(variants)} at r = 4K, {at_k} at "
        f"r = K. δ > η {'never held' if printed == 0 else f'held in {printed} networks'}",
        f"at r = 1, the mean profile alone, {single} of {len(variants)} settings of data, "
        "objective, scaling, bias and optimizer preserve",
    )


def best(arrays: Mapping[str, np.ndarray], side: int) -> np.ndarray:
    """ACC, NMI, ARI of the last layer, medians over the seeds; rank and method by the lowest."""
    medians = np.median(arrays["scores"][-1, :, side, LAST], 0)  # (ranks, methods, scores)
    flat = medians.reshape(-1, medians.shape[-1])
    return flat[flat.min(1).argmax()]


def scores(*runs: Result) -> Judgement:
    """A data set counts under the objective that suits it, and on the training samples."""
    found: dict[str, list[tuple[float, float, str]]] = {}
    for p, a in rows(runs):
        value = (best(a, TRAIN).min(), best(a, HELD_OUT).min(), p["objective"])
        found.setdefault(p["data"], []).append(value)
    top = {name: max(values) for name, values in found.items()}
    high = [name for name, (train, _, _) in top.items() if train >= NEARLY]
    fresh = [name for name, (_, held_out, _) in top.items() if held_out >= NEARLY]
    listed = "; ".join(
        f"{name.replace('_', ' ')} {train:.2f} ({held_out:.2f}, {objective})"
        for name, (train, held_out, objective) in top.items()
    )
    return Judgement(
        by_count(len(high), len(top)),
        f"lowest of ACC, NMI and ARI from |P_r(Y)| of the fifth layer, best method and rank, "
        f"training samples (held out): {listed}. All three at least {NEARLY} on {len(high)} of "
        f"{len(top)} data sets, on held-out samples on {len(fresh)}",
        f"{_others(runs)} settings with another scaling, bias or optimizer reach it",
    )


def _others(runs: Sequence[Result]) -> str:
    variants = [
        best(a, TRAIN).min() >= NEARLY
        for p, a in rows(runs, default=False)
        if not DEFAULT.items() <= p.items()
    ]
    return f"{sum(variants)} of {len(variants)}"


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
