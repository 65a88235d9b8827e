"""Claims about other activations and recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from evidence.claim import claim
from evidence.criteria import limits
from evidence.readings import NORM_NAMES, chosen, ends_lower, falls, kept, mostly
from evidence.results import Result
from evidence.verdict import Reading, aside

SMOOTH = ("gelu", "silu")
EVERY = ("gelu", "silu", "tanh", "relu")


def preserving(among: Sequence[str], run: Result, told: Result | None) -> list[Reading]:
    """Every layer, the last layer, the last layer at equal ranks, of the networks that reconstruct
    and, where they are stored, of those that are told the clusters: the objective is a setting.
    """
    cases: list[dict[str, Any]] = []
    layers, ranks, shares, sines = [], [], [], []
    for objective, part in (("reconstruct", run), ("classify", told)):
        if part is None:
            continue
        own = [i for i, p in enumerate(part.settings) if p["activation"] in among]
        share, sine = part["share_r1"][own, -1], part["clean_to_post_spectral"][own, -1, -1]
        cases += [{"objective": objective, **case} for case in chosen(part, own)]
        layers.append(kept(share))
        ranks.append(mostly(sine <= limits.angle))
        shares += np.median(share[:, -1], -1).tolist()
        sines += np.median(sine, -1).tolist()
    every, equal = np.concatenate(layers), np.concatenate(ranks)
    unit = "median share of P(X*) in the leading r + 1 of the last layer"
    sine_unit = "median sine of the largest angle"
    middle, angle = float(np.median(shares)), float(np.median(sines))
    return [
        Reading("every layer", every.all(1), cases, number=middle, unit=unit),
        Reading("last layer", every[:, -1], cases, number=middle, unit=unit),
        Reading("last layer at equal ranks", equal, cases, number=angle, unit=sine_unit),
    ]


def told_apart(among: Sequence[str], told: Result | None) -> list[Reading]:
    """What networks of the first scale do once they are told the clusters, beside the readings."""
    if told is None:
        return []
    first = min(p["scale"] for p in told.settings)
    found = []
    for i in (i for i, p in enumerate(told.settings) if p["scale"] == first):
        name = str(told.settings[i]["activation"])
        if name not in among:
            continue
        apart = np.median(told["clean_to_post_fro"][i, [0, -1], -1], -1)
        where = f"{name} that classifies, data × {first:g}"
        found += [
            aside(where, apart[1], f"the distance in the Frobenius norm (before {apart[0]:.2g})"),
            aside(where, told["spectral_acc"][i, -1, -1].mean(), "accuracy from |P_r|"),
            aside(where, told["kmeans"][i, -1].mean(), "accuracy by k-means"),
            aside(where, np.median(told["held_out"][i]), "accuracy on new points"),
        ]
    return found


def gelu_silu(run: Result, activations_classify: Result | None = None) -> list[Reading]:
    """At every scale of the data, under both objectives."""
    told = activations_classify
    return [*preserving(SMOOTH, run, told), *told_apart(SMOOTH, told)]


def pointwise(run: Result, activations_classify: Result | None = None) -> list[Reading]:
    """All activations; beside, how bent the most bent layer of a network that reconstructs is."""
    everywhere = kept(run["share_r1"][:, -1]).all(1)
    bend = np.median(run["nonlinearity"][:, -1].max(1), -1)
    unit = "of the norm of its most bent layer is not linear in WX"
    most = bend[everywhere].max() if everywhere.any() else np.nan
    least = bend[~everywhere].min() if not everywhere.all() else np.nan
    return [
        *preserving(EVERY, run, activations_classify),
        aside("reconstructing, where every layer preserves, at most", most, unit),
        aside("reconstructing, elsewhere at least", least, unit),
        *told_apart(("tanh",), activations_classify),
    ]


def top_layer(run: Result, view: int) -> Result:
    """The run with one of the last two observed layers: 0 the last state, 1 all states stacked."""
    layer = run["share_r"].shape[2] - 2 + view
    names = ("share_r1", "rank", *(f"clean_to_post_{n}" for n in NORM_NAMES))
    arrays = {name: run[name][:, :, layer] for name in names}
    return Result(run.name, run.config, run.settings, arrays)


def lstm(run: Result) -> list[Reading]:
    """Along the path and by its ends, in either representation, in each norm.

    Where the states die the distance can fall to that from nothing, ‖P(X*)‖: such a setting, with
    numerical rank below r in more than one trial of ten, counts as one where it does not fall.
    """
    r = int(run.config["n_subspaces"] * run.config["subspace_dim"])
    readings, beside = [], []
    for way, found in (("along the path", falls), ("end against start", ends_lower)):
        for view, words in enumerate(("last state", "all states")):
            top = top_layer(run, view)
            alive = mostly(top["rank"][:, -1] >= r)
            readings += [
                Reading(
                    f"{words}, {norm}, {way}",
                    alive & found(top, f"clean_to_post_{name}"),
                    run.settings,
                )
                for name, norm in NORM_NAMES.items()
            ]
            share = np.median(top["share_r1"][:, -1], -1)
            unit = "of P(X*) in the leading r + 1 at the end, best setting"
            beside.append(aside(words, share.max(), unit))
    return [*readings, *beside[:2]]


claim(
    "gelu-silu-preserve",
    "GELU and SiLU networks (five layers) preserve the structure",
    gelu_silu,
    "activations",
    optional=("activations-classify",),
)
claim(
    "lstm-preserves",
    "Three LSTM layers with ReLU: the projection distance falls along training",
    lstm,
    "recurrent",
)
claim(
    "pointwise-class",
    "Preservation is a property of the class linear map and pointwise activation",
    pointwise,
    "activations",
    optional=("activations-classify",),
)
