"""The headline again, in the order of what is seen: from X*, weights and labels down to Y alone.

The same model, trials and layers as chapter 9's headline, and a trained layer beside them. A score
is what a statement needs over what it has; it certifies where the score is below 1. Statements that
answer yes or no have the scores 0 and ∞.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evidence.certified_labels.predicted import predict
from evidence.entry_by_entry import experiment as headline
from evidence.entry_by_entry.experiment import Case, critical_noise, half_point
from evidence.experiment import Setting, experiment
from evidence.results import Result
from evidence.setting import follow
from subspace_lib.bounds import divide
from subspace_lib.certify import must_links, whiten
from subspace_lib.clustering import cluster_trees, weakest_edge
from subspace_lib.entrywise import certify_clusters, entrywise_bound, entrywise_margin
from subspace_lib.networks import FeedForward
from subspace_lib.projectors import row_projector
from subspace_lib.reference import compare_checked

# Row → what its reader has in hand.
CLEAN = "X*, W, the noise, labels"
REFERENCE = "the layer, row space of X*, labels"
PART = "the layer along row(X*), W, σ, labels"
LAYER = "the layer, W, rank, K"
INPUT = "the input, σ, rank, K; then any layer"
ROWS = {
    "as printed": CLEAN,
    "connectivity margin": CLEAN,
    "one step": CLEAN,
    "reference": REFERENCE,
    "entry by entry": REFERENCE,
    "… third order": REFERENCE,
    "… after a power step": REFERENCE,
    "predicted": PART,
    "the layer alone": LAYER,
    "the layer, σ known": LAYER + ", σ",
    "two stages": INPUT,
    "true": "everything",
}
WORDS = {  # for whom does not know the statements yet
    "as printed": "the paper’s condition",
    "connectivity margin": "… with the better margin",
    "one step": "… in one step",
    "reference": "from the clean row space, one number",
    "entry by entry": "… entry by entry",
    "… third order": "… to third order",
    "… after a power step": "… after a power step",
    "predicted": "predicted before the layer is seen",
    "the layer alone": "from the noisy layer alone",
    "the layer, σ known": "… with the size of the noise",
    "two stages": "labels proved at the input",
    "true": "what is true",
}
CHAIN = {0: 0, 1: 1, 2: 5}  # row here → row of chapter 9's headline
PLACE = {name: i for i, name in enumerate(ROWS)}
LAYERS = ("linear", "ReLU, bias 4", "ReLU", "trained ReLU")
STAGES = ("the layer alone", "the layer, σ known", "two stages")  # whose links are counted
LOW = (-34.0, -26.0, -18.0, -14.0, -10.0, -8.0, -6.0, -5.0, -4.0)  # where scores are homogeneous
TENTHS = tuple(np.round(np.arange(-21, -8) / 10, 1).tolist())  # where most rows end
FINE = (-3.5, -3.25, -3.0, -2.75, -2.5, -2.25, *TENTHS, -0.75, -0.5, -0.25, 0.0)
TRAINED = (-34.0, -6.0, -3.0, -2.5, *TENTHS[::2], -0.75, -0.5, -0.25, 0.0)


@dataclass(frozen=True)
class Config:
    """low: noises for the rows whose scores are homogeneous; fine: for all rows; trained: among
    both, those at which the network is trained."""

    ambient_dim: int = 400
    points_per_subspace: int = 100
    width: int = 80
    trials: int = 50
    chunk: int = 5
    n_subspaces: int = 4
    subspace_dim: int = 4
    seed: int = 0
    low: tuple[float, ...] = LOW
    fine: tuple[float, ...] = FINE
    trained: tuple[float, ...] = TRAINED
    level: float = 0.05
    lr: float = 0.003
    steps: int = 200

    @property
    def log_variance(self) -> tuple[float, ...]:
        return (*self.low, *self.fine)


def compute(config: Config, setting: Setting, device: str) -> dict[str, Any]:
    """scores (layers, rows, noises, chunk), NaN where a row is not evaluated; for STAGES the number
    of links and of wrong ones, (stages, noises, chunk)."""
    trials = list(range(setting["first"], setting["first"] + setting["trials"]))
    scene, count = Scene(config, trials, device), len(trials)
    noises = config.log_variance
    scores = np.full((len(LAYERS), len(ROWS), len(noises), config.chunk), np.nan)
    links, wrong = (np.full((len(STAGES), len(noises), config.chunk), np.nan) for _ in range(2))
    for j, noise in enumerate(noises):
        whole = noise in config.fine
        chosen = LAYERS if noise in config.trained else LAYERS[:-1]
        cases = {name: scene.layer(name, noise) for name in chosen}
        stages = scene.stages(noise) if whole else {}
        for name, case in cases.items():
            found = chain_scores(case) | reference_score(case)
            if whole:
                found |= reference_scores(case, scene.labels) | scene.given(stages, case)
            if whole and name == "linear":
                found |= scene.layer_scores(case, noise, stages)
            for row, values in found.items():
                scores[LAYERS.index(name), PLACE[row], j, :count] = values
        for k, name in enumerate(STAGES):
            for array, kind in ((links, "links"), (wrong, "wrong")):
                if name in stages:
                    array[k, j, :count] = getattr(stages[name], kind)
    with np.errstate(over="ignore"):  # beyond single precision is ∞
        return {"scores": scores.astype(np.float32), "links": links, "wrong": wrong}


@dataclass(frozen=True)
class Stage:
    """What the links of a noisy matrix amount to: (trials,) each."""

    groups: list[Any]  # certified labels, where the links' components number K
    links: np.ndarray
    wrong: np.ndarray

    @property
    def score(self) -> np.ndarray:
        return np.array([math.inf if y is None else 0.0 for y in self.groups])


class Scene(headline.Scene):
    """Chapter 9's scene, with trained layers and what is certified without clean data."""

    def __init__(self, config: Config, trials: list[int], device: str) -> None:
        self.config = config
        old = headline.Config(
            config.ambient_dim,
            config.points_per_subspace,
            config.width,
            config.trials,
            config.chunk,
            config.n_subspaces,
            config.subspace_dim,
            config.seed,
        )
        super().__init__(old, trials, device)
        self.labels = self.data.labels.cpu().numpy()
        self.same = self.labels[:, None] == self.labels
        self.size = self.clean.square().mean((-2, -1)).sqrt()  # deviation of an entry of Z

    def layer(self, name: str, noise: float) -> Case:
        weakest = self.trailing(noise)
        return (
            self.trained(noise, weakest) if "trained" in name else self.case(name, noise, weakest)
        )

    def trained(self, noise: float, trailing: dict[str, Tensor]) -> Case:
        """The hidden layer of a network trained to reconstruct the noisy data, as a ``Case``."""
        s, m = 10 ** (noise / 2), self.config.ambient_dim
        X = self.clean + s * self.Z
        network = FeedForward((m, self.config.width, m), bias=True)
        run = follow(
            network,
            replace(self.data, X=X, noise_variance=10**noise),
            (0, self.config.steps),
            self.config.seed + 2,
            optimizer="adam",
            lr=self.config.lr,
            normalize="data",
        )
        W, b = (run[-1].params[key].double() for key in ("W1", "b1"))
        WZ, clean_pre = W @ self.Z, W @ self.clean + b[..., None]
        pre = clean_pre + s * WZ
        spectrum, R = self.lifted_spectrum, self.R["constant"]
        errors = s * self.norms["Z"], s * torch.linalg.matrix_norm(WZ, 2)
        first = spectrum[..., R.shape[-2] - 1], trailing["constant"]
        top = spectrum[..., 0] + errors[0]
        column = torch.linalg.vector_norm(b, dim=-1) / self.level
        sizes = top, torch.hypot(torch.linalg.matrix_norm(W, 2), column) * top
        return Case(
            torch.relu(pre),
            pre,
            clean_pre,
            R,
            self.P["constant"],
            errors,
            first,
            *self.margins["constant"],
            sizes,
        )

    def stages(self, noise: float) -> dict[str, Stage]:
        """What the noisy linear layer and the noisy input certify without clean data or labels."""
        s = 10 ** (noise / 2)
        Y = torch.stack([whiten(*pair) for pair in zip(self.WS + s * self.WZ, self.W, strict=True)])
        sigma = (s * self.size).tolist()
        return {
            "the layer alone": self.linked(Y, [None] * len(Y)),
            "the layer, σ known": self.linked(Y, sigma),
            "two stages": self.linked(self.clean + s * self.Z, sigma),
        }

    def linked(self, Y: Tensor, noise: list[float] | list[None]) -> Stage:
        K, rank, seed = self.config.n_subspaces, self.data.rank, self.config.seed + 4
        groups: list[Any] = []
        links, wrong = [], []
        for matrix, sigma, trial in zip(Y, noise, self.data.trials, strict=True):
            found = must_links(
                matrix, rank, noise=sigma, n_clusters=K, level=self.config.level, seed=seed + trial
            )
            pairs = np.triu(found.links.cpu().numpy(), 1)
            links.append(pairs.sum())
            wrong.append((pairs & ~self.same).sum())
            groups.append(found.labels)
        return Stage(groups, np.array(links), np.array(wrong))

    def given(self, stages: dict[str, Stage], case: Case) -> dict[str, np.ndarray]:
        """The second stage: does the layer show the labels that the input has certified?"""
        Q, scores = row_projector(case.Y, case.R.shape[-2]), []
        for projector, y in zip(Q, stages["two stages"].groups, strict=True):
            scores.append(math.inf if y is None else shown(projector, y))
        return {"two stages": np.array(scores)}

    def layer_scores(
        self, case: Case, noise: float, stages: dict[str, Stage]
    ) -> dict[str, np.ndarray]:
        sigma = 10 ** (noise / 2) * self.size
        found = predict(case.Y @ case.R.mT, case.R, self.W, sigma, self.config.level)
        scores = {"predicted": found.score(self.labels).cpu().numpy()}
        return scores | {name: stages[name].score for name in STAGES[:2]}


def shown(Q: Tensor, labels: Tensor) -> float:
    """The largest entry across over the weakest one that the labels need: below 1 a threshold
    between them shows the labels, as ``read_layer`` finds. Chapter 9's score of the truth.
    """
    across = labels[:, None] != labels
    leak = Q.abs().masked_fill(~across, 0).amax()
    return float(divide(leak, entrywise_margin(Q, labels) + leak))


def chain_scores(case: Case) -> dict[str, np.ndarray]:
    """The paper's condition, its better margin, and one step: chapter 9's scores."""
    found = headline._chain_scores(case)
    return {list(ROWS)[i]: found[j].cpu().numpy() for i, j in CHAIN.items()}


def reference_score(case: Case) -> dict[str, np.ndarray]:
    """The one number of chapter 8, against half the margin."""
    sine = compare_checked(case.Y, case.R).sine
    return {"reference": divide(2 * sine, case.margin).cpu().numpy()}


def reference_scores(case: Case, labels: np.ndarray) -> dict[str, np.ndarray]:
    """What the row space of X* and the labels explain, and what is true."""
    best = certify_clusters(case.Y, case.R, labels, share=False)
    bound = entrywise_bound(case.Y, case.R).terms
    step = torch.linalg.qr(case.Y.mT @ (case.Y @ case.R.mT)).Q.mT
    power = certify_clusters(case.Y, step, labels, share=False)
    found = {
        "entry by entry": _edges(case.P, bound, labels),
        "… third order": divide(best.threshold, best.gap),
        "… after a power step": divide(power.threshold, power.gap),
        "true": headline._truth(case, torch.from_numpy(labels).to(case.Y.device))[-1],
    }
    return {name: values.cpu().numpy() for name, values in found.items()}


def _edges(P: Tensor, terms: dict[str, Tensor], labels: np.ndarray) -> Tensor:
    """Corollary 9.10 from the bounds (A) and (B) alone."""
    across = torch.from_numpy(labels[:, None] != labels).to(P.device)
    first, zeroth = terms["centre"].abs(), P.abs()
    low = torch.maximum(first - terms["remainder"], zeroth - terms["A"]).clamp(min=0)
    high = torch.minimum(first + terms["remainder"], zeroth + terms["A"])
    low, possible = torch.minimum(low, low.mT), high.masked_fill(~across, 0).amax((-2, -1))
    return divide(possible, weakest_edge(cluster_trees(low, labels)[0]))


def crossings(result: Result) -> np.ndarray:
    """(rows, layers): log10 of the largest noise variance that certifies half of the trials.

    −∞: half of them at no noise; NaN: the row does not apply to the layer. +∞: up to the last.
    """
    scores = headline.stacked(result)
    levels = np.array([*result.config["low"], *result.config["fine"]])
    found = np.full((len(ROWS), len(LAYERS)), np.nan)
    for layer, row in np.ndindex(len(LAYERS), len(ROWS)):
        values = scores[layer, row]
        there = ~np.isnan(values).all(-1)
        if there.any():
            found[row, layer] = half_point(critical_noise(levels[there], values[there]))
    return found


def agreement(result: Result) -> np.ndarray:
    """Share of (noise, trial) in which the two stages certify exactly what is true, by layer."""
    scores = headline.stacked(result)
    stages, truth = scores[:, PLACE["two stages"]], scores[:, PLACE["true"]]
    there = ~np.isnan(stages)
    return (((stages < 1) == (truth < 1)) & there).sum((-2, -1)) / there.sum((-2, -1))


QUICK = Config(60, 40, 20, 2, 1, 2, 2, low=(-18.0, -6.0), fine=(-3.0, -1.0), trained=(-3.0,))

experiment(
    "headline-observed",
    "The headline in the order of what is seen, from the clean data down to a noisy layer alone",
    quick=replace(QUICK, steps=20),
    full=Config(),
    half={"ambient_dim": 200, "points_per_subspace": 50, "width": 40, "subspace_dim": 2},
    settings=headline.settings,
    compute=compute,
    axes={"*": 0},  # a setting is a block of trials
)
