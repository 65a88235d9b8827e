"""Claims about other activations and recurrent layers."""

from __future__ import annotations

import numpy as np

from evidence.claim import claim
from evidence.criteria import limits
from evidence.readings import NORM_NAMES, chosen, ends_lower, falls, kept, mostly
from evidence.results import Result
from evidence.verdict import Reading, aside


def preserving(run: Result, number: list[int], objective: str) -> list[Reading]:
    """Every layer, the last layer, the last layer at equal ranks; settings by their indices."""
    cases = chosen(run, number)
    share, sine = run["share_r1"][number, -1], run["clean_to_post_spectral"][number, -1]
    layers = kept(share)
    unit = "median share of P(X*) in the leading r + 1 of the last layer"
    middle = float(np.median(share[:, -1]))
    return [
        Reading(f"{objective}, every layer", layers.all(1), cases, number=middle, unit=unit),
        Reading(f"{objective}, last layer", layers[:, -1], cases, number=middle, unit=unit),
        Reading(
            f"{objective}, last layer at equal ranks",
            mostly(sine[:, -1] <= limits.angle),
            cases,
            number=float(np.median(sine[:, -1])),
            unit="median sine of the largest angle",
        ),
    ]


def gelu_silu(run: Result) -> list[Reading]:
    """At every scale of the data; the objective is part of each reading."""
    number = [i for i, p in enumerate(run.settings) if p["activation"] in ("gelu", "silu")]
    return preserving(run, number, "reconstructing")


def pointwise(run: Result) -> list[Reading]:
    """All activations at all scales; beside, how bent the most bent layer of a network is."""
    number = list(range(len(run.settings)))
    found = preserving(run, number, "reconstructing")
    bend = np.median(run["nonlinearity"][:, -1].max(1), -1)
    everywhere = np.isin(number, found[0].chosen)
    unit = "of the norm of its most bent layer is not linear in WX"
    most = bend[everywhere].max() if everywhere.any() else np.nan
    least = bend[~everywhere].min() if not everywhere.all() else np.nan
    return [
        *found,
        aside("where every layer preserves, at most", most, unit),
        aside("elsewhere at least", least, unit),
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
)
