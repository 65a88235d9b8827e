"""What is read in a layer's clusters without a rank, beside |P_r| at the rank of the data.

Networks of chapters 13 to 20, trained as there, before and after training: every layer is
clustered by single linkage and spectral clustering of |P_r|, r the rank of the clean data, and by
``ProjectorClustering``, which is told the number of clusters and nothing else.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evidence.claim import claim
from evidence.experiment import Setting, experiment
from evidence.measures import accuracy, linkage_accuracy, spectral_accuracy
from evidence.nonnegative.experiment import nonnegative_union, start
from evidence.readings import as_good, fewer_errors
from evidence.results import Result
from evidence.setting import SMALL, PaperConfig, follow, paper_data, single
from evidence.verdict import Reading, aside
from subspace_lib import rowspace
from subspace_lib.data import UnionOfSubspaces
from subspace_lib.estimator import ProjectorClustering
from subspace_lib.networks import Convolutional, FeedForward, Network, Recurrent, Transformer

RATE = 0.003
ROWS = 8  # layers of the largest network: four blocks, as tokens and pooled
READERS = ("linkage", "P_K", "P_r", "P_r+1", "no rank")
NAMES = {
    "one layer": "one ReLU layer",
    "one sign": "… of one sign",
    "relu": "five ReLU",
    "gelu": "five GELU",
    "lstm": "LSTM",
    "cnn": "convolutional",
    "transformer": "Transformer",
}
UNREAD = ("position", "first token")  # a part of a layer
NARROW = ("pooled", "last")  # what is read of one with few rows: over positions, the last state


@dataclass(frozen=True)
class Config(PaperConfig):
    """scale, of the points: 20 for GELU and LSTM, ten times that for grids and tokens; plain ReLU
    layers take the paper's. width, of tokens and LSTM states. The rest as in chapters 13 to 20.
    """

    trials: int = 5
    steps: int = 200
    depth: int = 5
    scale: float = 20.0
    variances: tuple[float, ...] = (0.1, 0.5)
    channels: tuple[int, ...] = (4, 8, 20)
    tokens: int = 20
    width: int = 20
    blocks: int = 4
    pieces: int = 8


def settings(config: Config) -> list[Setting]:
    """Every network under both objectives; data and weights of one sign reconstruct only."""
    usual, high = config.variances
    both = ("reconstruct", "classify")
    shallow = ("one layer", "relu")
    grid = [(name, bias, usual, o) for name in shallow for bias in (False, True) for o in both]
    grid += [("one sign", False, high, "reconstruct")]
    grid += [("relu", False, high, o) for o in both]
    others = ("gelu", "lstm", "cnn", "transformer")
    grid += [(name, False, usual, o) for name in others for o in both]
    keys = ("network", "bias", "variance", "objective")
    return [dict(zip(keys, values, strict=True)) for values in grid]


def network_for(config: Config, setting: Setting) -> tuple[Network, float]:
    """The network and the scale of its data."""
    kind, m = setting["network"], config.ambient_dim
    outputs = m if setting["objective"] == "reconstruct" else config.n_subspaces
    if kind == "cnn":
        return Convolutional(m, outputs, config.channels), 10 * config.scale
    if kind == "lstm":
        return Recurrent(m, config.width, outputs, steps=config.pieces), config.scale
    if kind == "transformer":
        return Transformer(
            m,
            outputs,
            tokens=config.tokens,
            width=config.width,
            mlp=2 * config.width,
            blocks=config.blocks,
        ), 10 * config.scale
    depth = 1 if kind.startswith("one") else config.depth
    activation, scale = ("gelu", config.scale) if kind == "gelu" else ("relu", 1.0)
    widths = (m, *[config.hidden] * depth, outputs)
    return FeedForward(widths, activation=activation, bias=setting["bias"]), scale


def data_for(config: Config, setting: Setting, device: str) -> UnionOfSubspaces:
    """The paper's points, or those of one sign (chapter 15)."""
    if setting["network"] != "one sign":
        return paper_data(config, setting["variance"], device=device)
    sizes = {key: getattr(config, key) for key in ("trials", "seed", *SMALL)}
    return nonnegative_union("nonnegative", variance=setting["variance"], **sizes)


def without_rank(Y: Tensor, labels: Tensor) -> Tensor:
    """Accuracy of ``ProjectorClustering``, told the number of clusters: Y (c, p, n) → (c,)."""
    model = ProjectorClustering(int(labels.max()) + 1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # samples at which every unit is silent
        found = [model.fit_predict(A.mT) if A.any() else np.zeros(len(labels), np.int64) for A in Y]
    return accuracy(labels, torch.from_numpy(np.stack(found)).long().to(Y.device))


def read(Y: Tensor, labels: Tensor, rank: int) -> Tensor:
    """Accuracies by READERS of one layer of every network, Y (c, p, n): (readers, c)."""
    V = rowspace.factor(Y, rank + 1, gram=True).V
    K = int(labels.max()) + 1
    found = [linkage_accuracy(V[:, :rank], labels)]
    found += [spectral_accuracy(V[:, :q], labels) for q in (K, rank, rank + 1)]
    return torch.stack([*found, without_rank(Y, labels)])


@torch.no_grad()
def compute(config: Config, setting: Setting, device: str) -> dict[str, np.ndarray]:
    """acc (2, ROWS, readers, trials), before and after training; rows without a layer are NaN.

    names (ROWS,); loss (2, trials).
    """
    network, scale = network_for(config, setting)
    data, seed = data_for(config, setting, device).scaled(scale), config.seed + 2
    options = {"objective": setting["objective"], "optimizer": "adam", "lr": RATE}
    if setting["network"] == "one sign":
        assert isinstance(network, FeedForward)
        options["init"] = start(network, "nonnegative-hidden", trials=data.trials, seed=seed)
    with torch.enable_grad():
        ends = (0, config.steps)
        run = follow(network, data, ends, seed, normalize="data", **options)
    acc = np.full((len(run), ROWS, len(READERS), config.trials), np.nan)
    names = np.full(ROWS, "", "U20")
    for i, now in enumerate(run):
        layers = network.layers({k: p.double() for k, p in now.params.items()}, data.X)
        layers = [layer for layer in layers if not layer.name.endswith(UNREAD)]
        names[: len(layers)] = [layer.name for layer in layers]
        for j, layer in enumerate(layers):
            acc[i, j] = read(layer.post, data.labels, data.rank).cpu().numpy()
    loss = np.stack([now.loss for now in run])
    return single({"acc": acc, "loss": loss}) | {"names": names}


experiment(
    "layer-clusters",
    "A layer's clusters without a rank, beside |P_r| at the rank of the data (chapter 23)",
    quick=Config(
        trials=2,
        hidden=12,
        steps=10,
        depth=2,
        channels=(2, 3),
        tokens=6,
        width=8,
        blocks=1,
        pieces=6,
        **SMALL | {"ambient_dim": 36},
    ),
    full=Config(),
    settings=settings,
    compute=compute,
    axes={"acc": -1, "loss": -1, "names": None},
)


def middles(run: Result) -> tuple[np.ndarray, list[Setting]]:
    """Median accuracies after training by READERS, (layers, readers), and what each layer is."""
    found, layers = [], []
    for i, setting in enumerate(run.settings):
        for j, name in enumerate(run["names"][i]):
            if name:
                found.append(np.median(run["acc"][i, -1, j], -1))
                layers.append(setting | {"layer": str(name).removeprefix("layer ")})
    return np.array(found), layers


NOUN = "layers after training"


def by_the_rank(run: Result) -> list[Reading]:
    """As good as the best reader: by single linkage, by spectral clustering; then as no rank."""
    acc, layers = middles(run)
    linkage, ours, free = acc[:, 0], acc[:, 2:4].max(1), acc[:, 4]
    return [
        Reading(
            "single linkage on |P_r|, as good as any other",
            as_good(linkage, acc.max(1)),
            layers,
            number=float(np.median(linkage)),
            unit="median accuracy",
            noun=NOUN,
        ),
        Reading(
            "spectral clustering of |P_r| or |P_r+1|, as good as any other",
            as_good(ours, acc.max(1)),
            layers,
            number=float(np.median(ours)),
            unit="median accuracy",
            noun=NOUN,
        ),
        Reading("… as good as without a rank", as_good(ours, free), layers, noun=NOUN),
        aside("fewer errors without a rank", fewer_errors(free, ours).sum(), "layers"),
        aside("fewer errors with the rank", fewer_errors(ours, free).sum(), "layers"),
    ]


claim(
    "layer-clusters-by-rank",
    r"What a trained layer shows of the clusters is what $|P_r(Y)|$ shows, $r$ the rank of the "
    "clean data.",
    by_the_rank,
    "layer-clusters",
)
