"""Claims about other activations and recurrent layers: chapter 14."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evidence.claim import CONDITIONAL, FAILS, HOLDS, Claim, Judgement, register
from evidence.results import Result
from evidence.sensitivity import tally
from evidence.training.claims import falls

CHAPTER = 14
RUN, RECURRENT = "activations", "recurrent"
NORMS = ("max", "spectral", "fro")
# A layer "preserves" if ‖P(X*) − P(Y)‖ ends at 0.5 or less in the spectral norm, every principal
# angle at 30° or less, in nine trials of ten. For distances that only "fall" see chapter 11.
NEAR, TRIALS = 0.5, 0.9


def preserved(run: Result, i: int, layer: int = -1) -> bool:
    """Whether a hidden layer (the last) of point i preserves, after training."""
    return bool((run["clean_to_post_spectral"][i, -1, layer] <= NEAR).mean() >= TRIALS)


def layers(run: Result, i: int) -> int:
    """How many hidden layers of point i preserve."""
    return sum(preserved(run, i, k) for k in range(run["clean_to_post_spectral"].shape[2]))


def _verdict(count: int, of: int) -> str:
    return HOLDS if count == of else CONDITIONAL if count else FAILS


def describe(point: Mapping[str, object]) -> str:
    return f"{point['activation']} at scale {point['scale']:g}"


def _end(run: Result, i: int) -> float:
    return float(np.median(run["clean_to_post_spectral"][i, -1, -1]))


def gelu_silu(results: Mapping[str, Result]) -> Judgement:
    """Preserved in the last of five layers, at every scale of the data, some, or none."""
    run = results[RUN]
    chosen = [i for i, p in enumerate(run.settings) if p["activation"] in ("gelu", "silu")]
    kept = [i for i in chosen if preserved(run, i)]
    listed = ", ".join(
        f"{describe(run.settings[i])} {_end(run, i):.2f} (was "
        f"{np.median(run['clean_to_post_spectral'][i, 0, -1]):.2f}; layers that "
        f"preserve: {layers(run, i)})"
        for i in chosen
    )
    return Judgement(
        _verdict(len(kept), len(chosen)),
        f"median spectral distance from P(X*) to P(Y) of the fifth layer after training: {listed}",
        tally(run.settings, chosen, kept),
    )


def pointwise(results: Mapping[str, Result]) -> Judgement:
    """All activations at all scales; where some preserve, by how linear their layers are."""
    run = results[RUN]
    number = range(len(run.settings))
    kept = [i for i in number if preserved(run, i)]
    depth = run["clean_to_post_spectral"].shape[2]
    all_layers = [i for i in number if layers(run, i) == depth]
    rest = [i for i in number if i not in all_layers]
    bend = np.median(run["nonlinearity"][:, -1].max(1), -1)  # most bent of the layers, at the end
    parts = [f"{len(kept)} of {len(number)} combinations of activation and scale preserve in the "
             f"last layer, {len(all_layers)} in every layer"]  # fmt: skip
    if all_layers:
        parts.append(f"where every layer does, at most {bend[all_layers].max():.1%} of the norm "
                     "of any layer is not linear in WX")  # fmt: skip
    if rest:
        parts.append(f"elsewhere at least {bend[rest].min():.1%} of the most bent layer")
    settings = tally(run.settings, number, kept)
    return Judgement(_verdict(len(kept), len(number)), "; ".join(parts), settings)


def top_layer(run: Result, view: int) -> Result:
    """The run with one of the last two observed layers: 0 the last state, 1 all states stacked."""
    layer = run["share_r"].shape[2] - 2 + view
    arrays = {f"clean_to_post_{n}": run[f"clean_to_post_{n}"][:, :, layer] for n in NORMS}
    arrays |= {name: run[name][:, :, layer] for name in ("share_r1", "rank")}
    return Result(run.name, run.config, run.settings, arrays)


def lstm(results: Mapping[str, Result]) -> Judgement:
    """Does the distance fall along training, in either representation, in each norm?

    Where the states die the distance can fall to that from nothing, ‖P(X*)‖: such a setting, with
    numerical rank below r in more than one trial of ten, counts as one where it does not fall.
    """
    run = results[RECURRENT]
    r = int(run.config["n_subspaces"] * run.config["subspace_dim"])
    counts, parts = 0, []
    some: set[int] = set()
    for view, name in enumerate(("last state", "all states")):
        top = top_layer(run, view)
        alive = [i for i in range(len(run.settings)) if (top["rank"][i, -1] >= r).mean() >= TRIALS]
        fallen = {n: [i for i in alive if falls(top, f"clean_to_post_{n}", i)] for n in NORMS}
        found = {n: len(points) for n, points in fallen.items()}
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
        _verdict(counts, 2 * len(NORMS) * len(run.settings)),
        "; ".join(parts),
        f"falling in some representation and norm: {settings}",
    )


register(
    Claim(
        "gelu-silu-preserve",
        "GELU and SiLU networks (five layers) preserve the structure",
        CHAPTER, (RUN,), gelu_silu,
    )
)  # fmt: skip
register(
    Claim(
        "lstm-preserves",
        "Three LSTM layers with ReLU: the projection distance falls along training",
        CHAPTER, (RECURRENT,), lstm,
    )
)  # fmt: skip
register(
    Claim(
        "pointwise-class",
        "Preservation is a property of the class linear map and pointwise activation",
        CHAPTER, (RUN,), pointwise,
    )
)  # fmt: skip
