"""Claims about other activations and recurrent layers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evidence.claim import Judgement, claim
from evidence.criteria import NEAR
from evidence.readings import NORMS, by_count, falls, mostly
from evidence.results import Result
from evidence.sensitivity import tally


def preserved(run: Result) -> np.ndarray:
    """Whether the hidden layers preserve after training, (settings, layers)."""
    return mostly(run["clean_to_post_spectral"][:, -1] <= NEAR)


def describe(point: Mapping[str, object]) -> str:
    return f"{point['activation']} at scale {point['scale']:g}"


def gelu_silu(run: Result) -> Judgement:
    """Preserved in the last of five layers, at every scale of the data, some, or none."""
    chosen = [i for i, p in enumerate(run.settings) if p["activation"] in ("gelu", "silu")]
    found = preserved(run)
    kept = [i for i in chosen if found[i, -1]]
    first, last = np.median(run["clean_to_post_spectral"][:, [0, -1], -1], -1).T
    listed = ", ".join(
        f"{describe(run.settings[i])} {last[i]:.2f} (was {first[i]:.2f}; layers that preserve: "
        f"{found[i].sum()})"
        for i in chosen
    )
    return Judgement(
        by_count(len(kept), len(chosen)),
        f"median spectral distance from P(X*) to P(Y) of the fifth layer after training: {listed}",
        tally(run.settings, chosen, kept),
    )


def pointwise(run: Result) -> Judgement:
    """All activations at all scales; where some preserve, by how linear their layers are."""
    number = range(len(run.settings))
    found = preserved(run)
    kept, everywhere = np.flatnonzero(found[:, -1]).tolist(), found.all(1)
    bend = np.median(run["nonlinearity"][:, -1].max(1), -1)  # most bent of the layers, at the end
    parts = [
        f"{len(kept)} of {len(number)} combinations of activation and scale preserve in the last "
        f"layer, {everywhere.sum()} in every layer"
    ]
    if everywhere.any():
        parts.append(
            f"where every layer does, at most {bend[everywhere].max():.1%} of the norm of any "
            "layer is not linear in WX"
        )
    if not everywhere.all():
        parts.append(f"elsewhere at least {bend[~everywhere].min():.1%} of the most bent layer")
    settings = tally(run.settings, number, kept)
    return Judgement(by_count(len(kept), len(number)), "; ".join(parts), settings)


def top_layer(run: Result, view: int) -> Result:
    """The run with one of the last two observed layers: 0 the last state, 1 all states stacked."""
    layer = run["share_r"].shape[2] - 2 + view
    names = ("share_r1", "rank", *(f"clean_to_post_{n}" for n in NORMS))
    arrays = {name: run[name][:, :, layer] for name in names}
    return Result(run.name, run.config, run.settings, arrays)


def lstm(run: Result) -> Judgement:
    """Does the distance fall along training, in either representation, in each norm?

    Where the states die the distance can fall to that from nothing, ‖P(X*)‖: such a setting, with
    numerical rank below r in more than one trial of ten, counts as one where it does not fall.
    """
    r = int(run.config["n_subspaces"] * run.config["subspace_dim"])
    counts, parts = 0, []
    some: set[int] = set()
    for view, name in enumerate(("last state", "all states")):
        top = top_layer(run, view)
        alive = mostly(top["rank"][:, -1] >= r)
        fallen = {n: np.flatnonzero(alive & falls(top, f"clean_to_post_{n}")) for n in NORMS}
        found = {n: len(chosen) for n, chosen in fallen.items()}
        some = some.union(*fallen.values())
        counts += sum(found.values())
        share = np.median(top["share_r1"], -1)
        best = int(share[:, -1].argmax())
        listed = ", ".join(f"{n} {count}" for n, count in found.items())
        parts.append(
            f"{name}: the distance falls by a tenth in {listed} of {len(run.settings)} settings, "
            f"the share of P(X*) inside the top r + 1 ends between {share[:, -1].min():.2f} and "
            f"{share[best, -1]:.2f}"
        )
    settings = tally(run.settings, range(len(run.settings)), sorted(some))
    return Judgement(
        by_count(counts, 2 * len(NORMS) * len(run.settings)),
        "; ".join(parts),
        f"falling in some representation and norm: {settings}",
    )


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
