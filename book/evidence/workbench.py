"""What the laboratory's page is given: the first trial's data and weights, medians, questions."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from evidence.experiment import Setting
from evidence.laboratory import Config, band, grid, network_for
from evidence.results import Result
from evidence.setting import paper_data
from subspace_lib import rowspace
from subspace_lib.networks import FeedForward, Network
from subspace_lib.projectors import row_basis
from subspace_lib.training import train as train_network
from subspace_lib.trajectory import Checkpoint

OPENING: dict[str, Any] = {
    "noise": 0.1,
    "init": "usual",
    "activation": "relu",
    "bias": True,
    "optimizer": "adam",
    "depth": 1,
}
DEPTHS = 6  # of the page's slider: its first trial needs a weight for each layer
CURVES = ("share_r1", "share_r", "loss", "negative_share")  # medians along training
ENDS = ("accuracy", "certified")  # medians at the end
UNIT, NONE = 1e-4, 65535  # medians are multiples of UNIT in 16 bits; NONE: all trials diverged


@dataclass(frozen=True)
class Question:
    """A prediction: ``quantity`` at the end of a run of ``setting`` falls between two ``cuts``.

    options: one more than cuts, the smallest first. topic: the chapter that explains ``answer``.
    """

    text: str
    setting: dict[str, Any]
    quantity: str
    cuts: tuple[float, ...]
    options: tuple[str, ...]
    answer: str
    topic: str

    def option(self, value: float) -> int:
        return sum(value >= cut for cut in self.cuts)


def packed(values: Any, kind: str = "<f4") -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode("ascii")


def first_trial(config: Config) -> dict[str, Any]:
    """X*, the normal numbers of the noise and the uniform ones of each weight, of trial 0.

    A weight with the interval (a, b) is a + (b − a)u, and a small one takes the first numbers of
    a large one's stream: mh numbers for each layer give every depth and scheme.
    """
    data, (m, h) = paper_data(config, 1.0)[0], (config.ambient_dim, config.hidden)
    net = FeedForward((m, h, *[m] * DEPTHS))  # no weight has fewer than mh entries
    start = net.init("nonnegative", trials=1, seed=config.seed + 2)
    return {
        "clean": packed(data.clean),
        "noise": packed(data.noise / data.clean.square().mean().sqrt()),
        "weights": {name: packed(u.flatten()[: m * h]) for name, u in start.items()},
    }


def medians(run: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """The median over the trials left: along the checkpoints, or at the end."""
    values = np.maximum(run[name], run["certified_affine"]) if name == "certified" else run[name]
    middle = band(np.asarray(values, dtype=float))[1]
    return middle[..., -1] if name == "accuracy" else middle


def stored(result: Result) -> dict[str, Any]:
    """The medians over the trials at every setting of the grid, in the order of its settings."""
    found = {name: medians(result.arrays, name) for name in (*CURVES, *ENDS)}
    whole = {
        name: packed(np.where(np.isnan(v), NONE, np.clip(v / UNIT, 0, NONE - 1)).round(), "<u2")
        for name, v in found.items()
    }
    return {"marks": result["steps"][0].tolist(), "unit": UNIT, "none": NONE, "medians": whole}


def for_page(config: Config, result: Result) -> dict[str, Any]:
    """All that the page is given, plain values only."""
    return {
        "sizes": {
            "ambient": config.ambient_dim,
            "subspaces": config.n_subspaces,
            "dim": config.subspace_dim,
            "points": config.points_per_subspace,
        },
        "hidden": config.hidden,
        "rank": config.n_subspaces * config.subspace_dim,
        "steps": config.marks[-1],
        "trials": config.trials,
        "rates": {"adam": config.adam, "gd": config.gd, "gd bias": config.gd_bias},
        "opening": OPENING,
        "first": first_trial(config),
        "grid": grid(config),
        "stored": stored(result),
        "questions": [asdict(question) for question in QUESTIONS],
    }


def train(
    config: Config, setting: Setting, seed: int, report: Callable[[dict[str, Any]], None]
) -> None:
    """One run of the page's controls by ``sl.train``: ``report`` is told step 0 and every mark.

    seed: 1 is the first stored trial, 2 the next, and so on. What ``report`` raises ends the run.
    """
    several = paper_data(replace(config, trials=seed), setting["noise"])
    data = several[-1:].scaled(setting["scale"])
    clean, r = row_basis(data.clean, data.rank), data.rank

    def measure(network: Network, now: Checkpoint) -> dict[str, np.ndarray]:
        layer = network.layers({k: p.double() for k, p in now.params.items()}, data.X)[-1]
        assert layer.pre is not None  # only attention has none
        if np.isfinite(now.loss[0]):
            V = rowspace.factor(layer.post, r + 1).V
            weight = (clean @ V.mT).square().sum(-2)[0] / r
            report(
                {
                    "step": now.step,
                    "V": V[0].numpy(),
                    "loss": float(now.loss[0]),
                    "negative_share": float((layer.pre < 0).to(V).mean()),
                    "share_r": float(weight[:r].sum()),
                    "share_r1": float(weight.sum()),
                }
            )
        return {}

    network, steps = network_for(config, setting), config.marks[-1]
    marks = sorted({*range(11), *np.geomspace(10, steps, 100).round().astype(int).tolist()})
    rate = setting["rate"] * config.rate(setting["optimizer"], setting["bias"])
    options = {"init": setting["init"], "optimizer": setting["optimizer"], "lr": rate}
    options |= {"steps": steps, "checkpoints": marks, "seed": config.seed + 2}
    train_network(network, data, measure=measure, normalize="data", progress=False, **options)


QUESTIONS = (
    Question(
        "At the opening setting, take the bias away. How many of the points are proved to be in "
        "the right cluster at the end?",
        {"bias": False},
        "certified",
        (0.1, 0.7),
        ("hardly any", "some", "most of them"),
        "Without a bias ReLU keeps |WX| beside WX, and neither reference describes that. The "
        "clusters hardly notice: a certificate that fails says nothing about them.",
        "training",
    ),
    Question(
        "No bias, and GELU instead of ReLU. With ReLU one direction of six is exchanged. How much "
        "of the structure do the top 6 hold now?",
        {"bias": False, "activation": "gelu"},
        "share_r",
        (0.7, 0.9),
        ("less than .70", "about five sixths", "nearly all"),
        "GELU is nearly linear on data of this size, so no direction is exchanged: the curve of "
        "the top 6 rises to meet that of the top 7.",
        "activations_recurrence",
    ),
    Question(
        "Five layers, with ReLU, bias and Adam. At random weights less than half of the structure "
        "is left. How much is in the top 7 after training?",
        {"depth": 5},
        "share_r1",
        (0.6, 0.9),
        ("about as little", "between .60 and .90", "nearly all"),
        "At random weights each layer loses a part for good. Training repairs it: a small loss "
        "binds the last layer.",
        "depth",
    ),
    Question(
        "One layer, no bias, and a first weight matrix that is not negative. How much is in the "
        "top 7 after 1,000 steps?",
        {"bias": False, "init": "nonnegative-first"},
        "share_r1",
        (0.85, 0.95),
        ("less than .85", "between .85 and .95", "nearly all"),
        "On data of two signs, positive weights let one direction decide about every point, and "
        "1,000 steps do not undo it.",
        "nonnegative",
    ),
    Question(
        "GELU, two layers, gradient descent: after 1,000 steps the loss is still near that of the "
        "answer zero. How much is in the top 7?",
        {"activation": "gelu", "optimizer": "gd", "depth": 2},
        "share_r1",
        (0.5, 0.9),
        ("less than half", "between .50 and .90", "nearly all"),
        "It was there before the first step. A large share is not a success of training.",
        "training",
    ),
    Question(
        "Half as much noise as signal, no activation, no bias: the best setting at this noise. How "
        "many of the points are proved?",
        {"noise": 0.5, "bias": False, "activation": "identity"},
        "certified",
        (0.1, 0.7),
        ("hardly any", "some", "most of them"),
        "Most points are still found in their cluster, and none of them is proved: the bounds of "
        "Part II give out long before the structure does.",
        "entry_by_entry",
    ),
    Question(
        "GELU with a bias exchanges a direction at the opening setting. Now make the data five "
        "times smaller. How much do the top 6 hold?",
        {"activation": "gelu", "scale": 0.2},
        "share_r",
        (0.7, 0.9),
        ("less than .70", "about five sixths", "nearly all"),
        "Smaller data make GELU more nearly linear, and it stops exchanging. The mechanism does "
        "not change, its threshold does.",
        "activations_recurrence",
    ),
)
