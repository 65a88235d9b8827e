"""What a probe keeps of one layer's outputs Y (p, n), and what it computes from that.

R: (k, n) orthonormal rows, P = RᵀR. Exact sums over the batches: G = YYᵀ (p ≤ GRAM), C = YRᵀ and
‖Y‖_F². With E = Y(I − P) they give EEᵀ = G − CCᵀ, all that the reference bound needs of E.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from subspace_lib.clustering import clustering_scores
from subspace_lib.estimator import ProjectorClustering
from subspace_lib.projectors import TILE, _sines

GRAM = 1024  # features up to which the p×p matrix YYᵀ is summed
SMALL = 1 << 21  # entries up to which all of Y is kept anyway: 8 MB in single precision
EPS = float(torch.finfo(torch.float64).eps)
INF, NAN = float("inf"), float("nan")


class LayerRecord:
    """Grows by one batch of columns at a time; see ``LayerProbe`` for what is exact.

    kept: on the CPU, Y itself (p, n) in its own precision, or its sketch SY (l, n) in float64.
    """

    def __init__(
        self, name: str, columns: Tensor, R: Tensor, width: int, exact: bool | None, seed: int
    ):
        self.name, self.features, self.dtype = name, columns.shape[0], columns.dtype
        p, (k, n) = self.features, R.shape
        self.exact = bool(exact) or p <= width or (exact is None and p * n <= SMALL)
        self.S: Tensor | None = None
        self.G: Tensor | None = None
        self.C = torch.zeros(p, k, dtype=torch.float64)
        self.energy, self.seen = 0.0, 0
        if self.exact:
            self.kept = torch.zeros(p, n, dtype=self.dtype)
            return
        self.S = sketch_rows(columns, width, seed)
        self.G = torch.zeros(p, p, dtype=torch.float64) if p <= GRAM else None
        self.kept = torch.zeros(width, n, dtype=torch.float64)

    @property
    def method(self) -> str:
        return "exact" if self.exact else "sketch" if self.G is None else "gram"

    def add(self, columns: Tensor, start: int, R: Tensor) -> None:
        """columns: (p, b), samples start..start + b − 1. The products run where they live."""
        if columns.shape[0] != self.features:
            raise ValueError(
                f"layer {self.name!r} must give the same number of features in every batch, got "
                f"{self.features} and then {columns.shape[0]}; reduce='mean' or 'last' helps "
                f"with sequences of varying length"
            )
        here = slice(start, start + columns.shape[1])
        self.seen += columns.shape[1]
        self.energy += float(columns.cpu().double().square().sum())
        if self.S is None:
            self.kept[:, here] = columns.cpu()
            return
        # Apple's GPUs have no float64
        Y = columns.double() if columns.device.type != "mps" else columns.cpu().double()
        self.S = self.S.to(Y.device)
        self.kept[:, here] = (self.S @ Y).cpu()
        self.C += (Y @ R[:, here].to(Y.device).mT).cpu()
        if self.G is not None:
            self.G += (Y @ Y.mT).cpu()


def sketch_rows(first: Tensor, width: int, seed: int) -> Tensor:
    """S (width, p) with orthonormal rows: half from the first batch (p, b), the rest random.

    The leading left singular vectors of the first batch are close to those of Y where the batch
    is typical; the random half catches what it did not show, in whatever order samples come.
    """
    U = torch.linalg.svd(first.cpu().double(), full_matrices=False).U[:, : width // 2]
    g = torch.Generator().manual_seed(seed)
    rest = torch.randn(len(U), width - U.shape[1], generator=g, dtype=torch.float64)
    return torch.linalg.qr(torch.cat([U, rest], 1)).Q.mT.contiguous()


def measure_layer(
    record: LayerRecord, R: Tensor, larger: tuple[int, ...], labels: Any, seed: int
) -> dict[str, Any]:
    """One row of the probe's table."""
    k, n = R.shape
    V, spectrum, error = _leading_rows(record, max(k, *larger) if larger else k, k)
    rank = min(k, len(V))
    row: dict[str, Any] = {
        "layer": record.name, "method": record.method, "features": record.features, "samples": n,
        "rank": k, "layer_rank": int(_layer_rank(record, spectrum)),
    }  # fmt: skip
    Q = V[:rank]
    sines = _sines(R, Q) if rank else torch.ones(k, dtype=R.dtype)
    other = _sines(Q, R).square().sum() if rank else torch.tensor(0.0)
    row["distance_max"] = largest_entry(R, Q)
    row["distance_spectral"] = 1.0 if rank < k else float(sines.max())
    row["distance_fro"] = math.sqrt(float(sines.square().sum() + other))
    for q in (k, *larger):
        inside = _sines(R, V[:q]) if len(V) else torch.ones(k, dtype=R.dtype)
        if q > k:
            row[f"containment_{q}"] = 1.0 if len(V[:q]) < k else float(inside.max())
        row[f"share_{q}"] = 1 - float(inside.square().sum()) / k
        row[f"chance_{q}"] = min(q, n) / n
        row[f"shuffled_{q}"] = shuffled_share(R, V[:q])
    row |= {f"s_{i}": _entry(spectrum, j) for i, j in (("1", 0), ("rank", k - 1), ("next", k))}
    bound = reference_sine(record, R, spectrum)
    row["bound"] = bound(k)
    row["verdict"] = "holds" if row["bound"] < 1 else "vacuous"
    row |= {f"containment_bound_{q}": bound(q) for q in larger}
    row["sketch_error"] = error
    if labels is not None:
        row |= _scores(Q, labels, seed)
    return row | {"spectrum": spectrum.numpy()}


def shuffled_share(R: Tensor, V: Tensor) -> float:
    """Mean of ‖R Π Vᵀ‖_F²/k over all n! orders Π of the samples; R (k, n), V (q, n) orthonormal.

    The constant vector stays where it is under every order; the rest is spread evenly:
    (ab + (k − a)(q − b)/(n − 1))/k with a = ‖R1‖²/n, b = ‖V1‖²/n. Chapter 19 has the proof.
    """
    k, n = R.shape
    a, b = (float(A.sum(1).square().sum()) / n for A in (R, V))
    return (a * b + (k - a) * (len(V) - b) / max(n - 1, 1)) / k


def _entry(spectrum: Tensor, index: int) -> float:
    return float(spectrum[index]) if index < len(spectrum) else 0.0


def _layer_rank(record: LayerRecord, spectrum: Tensor) -> int:
    """Singular values above the rounding of the layer's own precision (of a Gram matrix's)."""
    size = max(record.features, record.kept.shape[1])
    rtol = size**0.5 * torch.finfo(record.dtype).eps
    if record.G is not None:
        rtol = max(rtol, (size * EPS) ** 0.5)
    return int((spectrum > rtol * spectrum[0]).sum())


def _leading_rows(record: LayerRecord, count: int, k: int) -> tuple[Tensor, Tensor, float]:
    """Leading right singular vectors (≤ count, n), the singular values, and the sketch's error."""
    kept = record.kept.double()
    V, s = _right_vectors(kept)
    if record.S is None or record.G is None:
        found = min(count, _layer_rank(record, s))
        return V[:found], s, 0.0 if record.exact else NAN
    # The sketch Z = SY fixes a space of rows; inside it Y is known through G: Y Vᵀ = G Sᵀ A D⁻¹
    # for Z = A D V. Its singular vectors there are better than those of Z.
    G, S = record.G, record.S.cpu()
    good = s > 1e-5 * s[0]  # dividing by less would amplify the rounding in G
    V, s = V[good], s[good]
    A = (kept @ V.mT) / s
    M = G @ (S.mT @ A) / s
    U, inside, Wh = torch.linalg.svd(M, full_matrices=False)
    spectrum = torch.linalg.eigvalsh(G).flip(0).clamp(min=0).sqrt()
    found = min(count, _layer_rank(record, spectrum), len(inside))
    # Wedin with A = Y P_Z and B = Y: (B − A)V₁ = 0, and (B − A)(B − A)ᵀ = G − MMᵀ
    lead = U[:, :k]
    missing = torch.linalg.matrix_norm(lead.mT @ (G - M @ M.mT) @ lead, 2)
    slack = _allowance(record) * (1 + 2 * float(s[0] / s[-1]))  # M was divided by s
    gap = _entry(inside, k - 1) - math.sqrt(_entry(spectrum, k) ** 2 + slack)
    error = math.sqrt(float(missing) + slack) / gap if gap > 0 and found >= k else 1.0
    return (Wh @ V)[:found], spectrum, min(error, 1.0)


def _right_vectors(Y: Tensor) -> tuple[Tensor, Tensor]:
    """Right singular vectors as rows, and the singular values; by QR first where n ≫ p."""
    if Y.shape[1] > 2 * Y.shape[0]:
        Q, T = torch.linalg.qr(Y.mT)
        _, s, Vh = torch.linalg.svd(T.mT, full_matrices=False)
        return Vh @ Q.mT, s
    _, s, Vh = torch.linalg.svd(Y, full_matrices=False)
    return Vh, s


def _allowance(record: LayerRecord) -> float:
    """Rounding that sums over n samples may leave in YYᵀ or YPYᵀ: 10·max(p, n)·eps·‖Y‖_F²."""
    return 10 * max(record.features, record.kept.shape[1]) * EPS * record.energy


def reference_sine(record: LayerRecord, R: Tensor, spectrum: Tensor) -> Callable[[int], float]:
    """q ↦ the reference bound τ/√(1 + τ²), τ = ‖F₀‖/(1 − t²/s²), t = s_{q+1}(Y).

    As ``reference_bound``, from Y or, just as rigorous, from the exact sums: ‖F₀‖² is the norm of
    Σ⁻¹UᵀEEᵀUΣ⁻¹. Without G, t ≤ ‖E‖_F and ‖EᵀU‖ ≤ ‖E‖_F take the place of what is not known.
    """
    if record.features < len(R):
        return lambda q: INF
    squares = _allowance(record)
    C = record.kept.double() @ R.mT if record.exact else record.C
    slack = squares / max(math.sqrt(record.energy), math.sqrt(EPS) * EPS)
    U, sigma, _ = torch.linalg.svd(C, full_matrices=False)
    s = float(sigma[-1]) - slack
    if s <= 0:
        return lambda q: INF
    outside = max(record.energy - float(C.square().sum()), 0.0) + squares  # ‖E‖_F²
    W = U / sigma
    if record.exact:
        E = record.kept.double() - C @ R
        F0 = float(torch.linalg.matrix_norm(torch.linalg.qr(E.mT @ W, mode="r").R, 2)) + slack / s
    elif record.G is not None:
        small = W.mT @ (record.G - C @ C.mT) @ W * (sigma[-1] / s) ** 2
        F0 = math.sqrt(float(torch.linalg.matrix_norm(small, 2)) + squares / s**2)
    else:
        F0 = math.sqrt(outside) / s

    def bound(q: int) -> float:
        if record.exact:
            tail = (_entry(spectrum, q) + slack) ** 2
        elif record.G is not None:
            tail = _entry(spectrum, q) ** 2 + squares
        else:
            tail = outside
        if tail >= s**2:
            return INF
        tau = F0 / (1 - tail / s**2)
        return tau / math.sqrt(1 + tau**2)

    return bound


def _scores(Q: Tensor, labels: np.ndarray, seed: int) -> dict[str, float]:
    classes = int(labels.max()) + 1
    if not len(Q):
        found = np.zeros(len(labels), dtype=np.int64)
    else:
        model = ProjectorClustering(classes, len(Q), random_state=seed)
        found = model.fit_predict(Q.mT.numpy())
    return clustering_scores(labels, found)


def largest_entry(V: Tensor, U: Tensor) -> float:
    """max |VᵀV − UᵀU| for orthonormal rows (k, n), (l, n); most tiles are ruled out unseen.

    VᵀV − UᵀU = X D Xᵀ with at most k + l columns in X, so |entry ij| ≤ a_i a_j,
    a_i² = Σ_l |D_l| X_il². Points in falling order of a, starting from the best diagonal entry.
    """
    F = torch.cat([V, U])
    signs = torch.cat([torch.ones(len(V)), -torch.ones(len(U))]).to(F)
    basis, T = torch.linalg.qr(F.mT)
    values, W = torch.linalg.eigh((T * signs) @ T.mT)
    X = basis @ W
    a = (X.square() @ values.abs()).sqrt()
    a, order = a.sort(descending=True)
    X = X[order]
    best = float((X.square() @ values).abs().max())
    for i in range(0, len(X), TILE):
        for j in range(i, len(X), TILE):
            if float(a[i] * a[j]) <= best:
                break
            tile = (X[i : i + TILE] * values) @ X[j : j + TILE].mT
            best = max(best, float(tile.abs_().max()))
    return best
