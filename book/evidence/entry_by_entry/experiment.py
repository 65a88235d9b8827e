"""The headline: up to which noise each statement certifies, and where the truth ends.

Every statement is turned into one number per trial and noise, its score: what it needs over what it
has. It certifies where the score is below 1. The noise Z = s Z₁ is one draw per trial, scaled.

Rounding. Every gap and every norm carries the allowance 10 · max(p, n) · eps · ‖·‖, added against
the certificate. Errors ‖Z‖ and ‖WZ‖ are s ‖Z₁‖ and s ‖WZ₁‖, exact by homogeneity also where s is
so small that X* + s Z₁ rounds to X*; the allowance then outweighs them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evidence.experiment import Setting, experiment
from evidence.results import Result
from subspace_lib import _random as rnd
from subspace_lib.bounds import divide
from subspace_lib.data import UnionOfSubspaces, add_noise, sample_union
from subspace_lib.entrywise import certify_clusters, entrywise_margin
from subspace_lib.projectors import row_basis, row_projector

EPS = torch.finfo(torch.float64).eps

# Bias in units of the root mean square of WX* (None: no ReLU, no bias), and the reference: the row
# space of X*, or of X* with a constant row.
SETTINGS: dict[str, tuple[float | None, str]] = {
    "linear": (None, "signal"),
    "ReLU": (0.0, "signal"),
    "ReLU, bias 6, signal only": (6.0, "signal"),
    "ReLU, bias 3": (3.0, "constant"),
    "ReLU, bias 4": (4.0, "constant"),
    "ReLU, bias 6": (6.0, "constant"),
}
STATEMENTS = (
    "printed, ε_min",
    "printed, ε_conn",
    "link by link",
    "spectral norm (8)",
    "two links (4)",
    "one step, best scale",
    "reference bound",
    "entry by entry",
    "edge certificate",
    "true: |P − Q| < ε_min/2",
    "true: |P − Q| < ε_conn/2",
    "true: clusters returned",
)
SCALES = (0.7, 0.8, 0.9, 1.1, 1.25, 1.5, 2.0, 4.0)  # tried for c, in units of least squares
# Coarse where scores are homogeneous in the noise, so that interpolation is exact up to rounding.
LOW = (-34, -26, -18, -14, -10, -8, -6)
LOG_VARIANCE = (*LOW, *np.arange(-5, -2.4, 0.5), *np.arange(-2.25, -0.4, 0.25), 0, 0.5, 1)


@dataclass(frozen=True)
class Config:
    ambient_dim: int
    points_per_subspace: int
    width: int
    trials: int
    chunk: int
    n_subspaces: int = 4
    subspace_dim: int = 4
    seed: int = 0
    log_variance: tuple[float, ...] = tuple(map(float, LOG_VARIANCE))
    shares_from: float = -4.0


@dataclass(frozen=True)
class Case:
    """One layer, its noise and its reference: what every statement is evaluated on."""

    Y: Tensor  # (T, p, n)
    pre: Tensor  # W̃X̃ (T, p, n)
    clean_pre: Tensor  # W̃X̃*
    R: Tensor  # (T, k, n)
    P: Tensor
    errors: tuple[Tensor, Tensor]  # ‖Z‖, ‖WZ‖
    first: tuple[Tensor, Tensor]  # s_k(X̃*), s_{k+1}(X̃)
    minimum: Tensor  # margins of P
    margin: Tensor
    sizes: tuple[Tensor, Tensor]  # ‖X̃‖ and ‖W̃‖ ‖X̃‖ at most: what rounding scales with


def settings(config: Config) -> list[Setting]:
    first = range(0, config.trials, config.chunk)
    return [{"first": f, "trials": min(config.chunk, config.trials - f)} for f in first]


def compute(config: Config, setting: Setting, device: str) -> dict[str, Any]:
    trials = list(range(setting["first"], setting["first"] + setting["trials"]))
    scene = Scene(config, trials, device)
    shape = (len(SETTINGS), len(STATEMENTS), len(config.log_variance), config.chunk)
    scores, shares = np.full(shape, np.nan), np.full((shape[0], *shape[2:]), np.nan)
    zeros = np.full((shape[0], config.chunk), np.nan)
    for j, log_variance in enumerate(config.log_variance):
        weakest = scene.trailing(log_variance)
        for i, name in enumerate(SETTINGS):
            case = scene.case(name, log_variance, weakest)
            found, share = evaluate(case, scene.data.labels, log_variance >= config.shares_from)
            scores[i, :, j, : len(trials)] = found
            shares[i, j, : len(trials)] = share
            if j == 0:
                zeros[i, : len(trials)] = (case.Y == 0).double().mean((-2, -1)).cpu()
    with np.errstate(over="ignore"):  # beyond single precision is ∞
        return {"scores": scores.astype(np.float32), "shares": shares, "zeros": zeros}


class Scene:
    """Data, weights and references of some trials; the noise comes later."""

    def __init__(self, config: Config, trials: list[int], device: str) -> None:
        m = config.ambient_dim
        self.data = sample_union(
            ambient_dim=m,
            n_subspaces=config.n_subspaces,
            subspace_dim=config.subspace_dim,
            points_per_subspace=config.points_per_subspace,
            trials=trials,
            seed=config.seed,
            device=device,
        )
        self.clean = self.data.clean
        self.Z = add_noise(self.data, 1.0, seed=config.seed + 1).noise
        seed, shape, limit = config.seed, (config.width, m), m**-0.5  # the usual initialisation
        self.W = rnd.draw(
            lambda g: g.uniform(-limit, limit, shape), seed, "headline W", trials, device=device
        )
        self.WS, self.WZ = self.W @ self.clean, self.W @ self.Z
        self.norms = {name: _norm(A) for name, A in (("Z", self.Z), ("WZ", self.WZ))}
        self.spectrum = torch.linalg.svdvals(self.clean)
        self.norms["W"] = _norm(self.W)
        r = self.data.rank
        # the row a·1ᵀ that makes X̃* has the size of a typical singular value of X*
        self.level = (self.spectrum.square().sum(-1) / r / self.clean.shape[-1]).sqrt()
        ones = torch.ones_like(self.clean[..., :1, :])
        self.lifted = torch.cat([self.clean, self.level[:, None, None] * ones], -2)
        self.lifted_spectrum = torch.linalg.svdvals(self.lifted)
        self.R = {"signal": row_basis(self.clean, r), "constant": row_basis(self.lifted, r + 1)}
        self.P = {name: R.mT @ R for name, R in self.R.items()}
        self.margins = {
            name: (_strict_margin(P, self.data), entrywise_margin(P, self.data.labels))
            for name, P in self.P.items()
        }

    def trailing(self, log_variance: float) -> dict[str, Tensor]:
        """s_{k+1} of X and of X̃; 0, its least possible value, where the first link fails anyway.

        It fails where 8 ‖Z‖/ε exceeds s_r(X*) for every trial and reference: no factor is smaller.
        """
        s = 10 ** (log_variance / 2)
        r, found = self.data.rank, {}
        for name, A, spectrum, k in (
            ("signal", self.clean, self.spectrum, r),
            ("constant", self.lifted, self.lifted_spectrum, r + 1),
        ):
            margin = self.margins[name][1]
            open_ = 8 * s * self.norms["Z"] < margin * spectrum[..., k - 1]
            found[name] = torch.zeros_like(margin)
            if open_.any():
                X = A.clone()
                X[..., : self.Z.shape[-2], :] += s * self.Z
                found[name] = torch.linalg.svdvals(X)[..., k]
        return found

    def case(self, name: str, log_variance: float, trailing: dict[str, Tensor]) -> Case:
        s = 10 ** (log_variance / 2)
        bias, reference = SETTINGS[name]
        pre, clean_pre = self.WS + s * self.WZ, self.WS
        shift = (bias or 0.0) * self.WS.square().mean((-2, -1), keepdim=True).sqrt()
        Y = pre if bias is None else torch.relu(pre + shift)
        spectrum, weights = self.spectrum, self.norms["W"]
        if reference == "constant":  # the chain of [W b/a] and [X*; a 1ᵀ]
            pre, clean_pre = pre + shift, clean_pre + shift
            column = shift[:, 0, 0] * self.W.shape[-2] ** 0.5 / self.level
            spectrum, weights = self.lifted_spectrum, torch.hypot(weights, column)
        R, (minimum, margin) = self.R[reference], self.margins[reference]
        first = spectrum[..., R.shape[-2] - 1], trailing[reference]
        errors = s * self.norms["Z"], s * self.norms["WZ"]
        top = spectrum[..., 0] + errors[0]
        sizes = top, weights * top
        return Case(Y, pre, clean_pre, R, self.P[reference], errors, first, minimum, margin, sizes)


def _norm(A: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(A, 2)


def _strict_margin(P: Tensor, data: UnionOfSubspaces) -> Tensor:
    """Smallest entry inside clusters less the largest across: ε_min for block diagonal P."""
    y = data.labels
    across = y[:, None] != y[None, :]
    inside = P.abs().masked_fill(across, math.inf).amin((-2, -1))
    leak = P.abs().masked_fill(~across, 0).amax((-2, -1))
    return inside - torch.where(leak > 1e-12, leak, 0.0)


def evaluate(case: Case, labels: Tensor, share: bool) -> tuple[np.ndarray, np.ndarray]:
    """Scores (statements, T) and certified shares (T,) of one case."""
    certificate = certify_clusters(case.Y, case.R, labels, share=share)
    scores = torch.stack(
        [
            *_chain_scores(case),
            _over(2 * certificate.terms["sin θ"], case.margin),
            _over(2 * certificate.terms["largest |Q − P|"], case.margin),
            divide(certificate.threshold, certificate.gap),
            *_truth(case, labels),
        ]
    )
    return scores.cpu().numpy(), certificate.certified_share.cpu().numpy()


def _chain_scores(case: Case) -> list[Tensor]:
    """The paper's theorem in its forms, from gaps and errors as ``theorem_3_1`` takes them."""
    k = case.R.shape[-2]
    slack = 10 * max(case.R.shape[-1], case.Y.shape[-2]) * EPS
    A, B = torch.linalg.svdvals(case.clean_pre), torch.linalg.svdvals(case.pre)
    C = torch.linalg.svdvals(case.Y)
    bent = _norm(case.Y - case.pre)
    first = slack * case.sizes[0]
    rest = slack * torch.maximum(case.sizes[1], torch.maximum(B[..., 0], C[..., 0]))
    gaps = torch.stack(
        [
            case.first[0] - case.first[1] - first,
            A[..., k - 1] - B[..., k] - rest,
            C[..., k - 1] - B[..., k] - rest,
        ]
    )
    errors = torch.stack([case.errors[0] + first, case.errors[1] + rest, bent + rest])
    per_link = divide(errors, gaps)
    worst, factor = per_link.amax(0), (128 * k) ** 0.5
    printed = divide(errors.amax(0), gaps.amin(0))
    return [
        _over(factor * printed, case.minimum),
        _over(factor * printed, case.margin),
        _over(factor * worst, case.margin),
        _over(8 * worst, case.margin),
        _over(2 * per_link[1:].sum(0), case.margin),
        _over(2 * _one_step(case, A[..., k - 1], C[..., k], rest), case.margin),
    ]


def _over(needed: Tensor, margin: Tensor) -> Tensor:
    """needed / margin; ∞ where there is no margin."""
    return divide(needed, margin.expand_as(needed))


def _one_step(case: Case, weakest: Tensor, rest: Tensor, slack: Tensor) -> Tensor:
    """min over c of ‖Y − cA‖/(c s_k(A) − s_{k+1}(Y)), over multiples of the least-squares c.

    Norms from Gram matrices choose c; the bound is then evaluated from an SVD.
    """
    A, Y = case.clean_pre, case.Y
    fit = (A * Y).sum((-2, -1)) / A.square().sum((-2, -1))
    AA, AY, YY = A @ A.mT, A @ Y.mT, Y @ Y.mT
    tried = fit * torch.tensor(SCALES).to(fit)[:, None]
    c = tried[..., None, None]
    square = torch.linalg.eigvalsh(YY - c * (AY + AY.mT) + c**2 * AA)[..., -1]
    best = divide(square.clamp(min=0).sqrt(), tried * weakest - rest).argmin(0, keepdim=True)
    candidates = torch.cat([tried.gather(0, best), fit[None]])
    error = _norm(Y - candidates[..., None, None] * A) + slack * (1 + candidates)
    return divide(error, candidates * weakest - rest - slack * (1 + candidates)).amin(0)


def _truth(case: Case, labels: Tensor) -> list[Tensor]:
    """The conclusions themselves, from Q = P_k(Y); below 1 where they are true."""
    Q = row_projector(case.Y, case.R.shape[-2])
    moved = (Q - case.P).abs().amax((-2, -1))
    across = labels[:, None] != labels[None, :]
    leak = Q.abs().masked_fill(~across, 0).amax((-2, -1))
    margin = entrywise_margin(Q, labels)  # the weakest needed edge less the leak
    returned = divide(leak, margin + leak)
    return [_over(2 * moved, case.minimum), _over(2 * moved, case.margin), returned]


def critical_noise(log_variance: Any, scores: Any) -> np.ndarray:
    """The largest log10 variance with score < 1, per trial: scores (..., noises, trials).

    Between the last noise that certifies and the first beyond it log(score) is interpolated; where
    the latter is infinite, the last that certifies is returned. −∞: never. +∞: up to the last.
    """
    x, s = np.asarray(log_variance, dtype=float), np.moveaxis(np.asarray(scores), -2, -1)
    good = s < 1
    never, last = ~good.any(-1), s.shape[-1] - 1 - good[..., ::-1].argmax(-1)
    after = np.minimum(last + 1, s.shape[-1] - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.maximum(s, 1e-300))
        a = np.take_along_axis(logs, last[..., None], -1)[..., 0]
        b = np.take_along_axis(logs, after[..., None], -1)[..., 0]
        weight = np.where(np.isfinite(b) & (b > a), -a / (b - a), 0.0)
    found = x[last] + weight * (x[after] - x[last])
    found = np.where(last == s.shape[-1] - 1, np.inf, found)
    return np.where(never, -np.inf, found)


def half_point(critical: Any) -> np.ndarray:
    """The largest noise at which at least half of the trials certify: (..., trials) → (...)."""
    ordered = np.sort(np.asarray(critical), axis=-1)[..., ::-1]
    return ordered[..., (ordered.shape[-1] + 1) // 2 - 1]


def stacked(result: Result, name: str = "scores") -> np.ndarray:
    """An array of the result with all trials side by side: (settings, …, trials)."""
    parts = [
        values[..., : setting["trials"]]
        for values, setting in zip(result[name], result.settings, strict=True)
    ]
    return np.concatenate(parts, -1)


def table(result: Result) -> np.ndarray:
    """(statements, settings): log10 of the largest variance that certifies half of the trials.

    −∞: it does not certify half of them at any noise.
    """
    return half_point(critical_noise(result.config["log_variance"], stacked(result))).T


COARSE = (-18.0, -12.0, *map(float, range(-10, 2)))

experiment(
    "headline",
    "For every statement the largest noise at which it certifies half of the trials",
    quick=Config(60, 40, 20, trials=4, chunk=2, n_subspaces=2, subspace_dim=2, log_variance=COARSE),
    full=Config(400, 100, 80, trials=100, chunk=10),
    settings=settings,
    compute=compute,
    axes={"*": 0},  # a setting is a block of trials
)
