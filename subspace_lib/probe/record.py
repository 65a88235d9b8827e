"""What a probe keeps of one layer's outputs Y (p, n), and what it computes from that.

R: (k, n) orthonormal rows, P = RᵀR. Exact sums over the batches: G = YYᵀ (p ≤ GRAM), C = YRᵀ and
‖Y‖_F². With E = Y(I − P) they give EEᵀ = G − CCᵀ, all that the reference bound needs of E.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.certify import MustLinks
from subspace_lib.certify.layers import read_rows, target
from subspace_lib.clustering import clustering_scores
from subspace_lib.reference import compare, sine_from_sums
from subspace_lib.rowspace import (
    distances,
    factor,
    nth,
    outside,
    rounding_unit,
    shifted,
    top_norm,
    unit_exponent,
)

GRAM = 1024  # features up to which the p×p matrix YYᵀ is summed
SMALL = 1 << 21  # entries up to which all of Y is kept anyway: 8 MB in single precision
EPS = float(torch.finfo(torch.float64).eps)


class LayerRecord:
    """Grows by one batch of columns at a time; see ``LayerProbe`` for what is exact.

    kept: on the CPU, Y itself (p, n) in its own precision, or its sketch SY (l, n) in float64.
    """

    def __init__(
        self, name: str, columns: Tensor, R: Tensor, width: int, exact: bool | None, seed: int
    ):
        self.name, self.features, self.dtype = name, columns.shape[0], columns.dtype
        self.unit = unit_exponent(columns).cpu()  # everything below is in units of 2^unit
        p, (k, n) = self.features, R.shape
        self.exact = bool(exact) or p <= width or (exact is None and p * n <= SMALL)
        self.S: Tensor | None = None
        self.G: Tensor | None = None
        self.C = R.new_zeros(p, k)
        self.energy, self.seen = 0.0, 0
        if self.exact:
            check.room(p * n, "reference and layer: Y, with exact=True,")
            self.kept = R.new_zeros(p, n, dtype=self.dtype)
            return
        self.S = sketch_rows(columns, width, seed)
        self.G = R.new_zeros(p, p) if p <= GRAM else None
        self.kept = R.new_zeros(width, n)

    @property
    def size(self) -> int:
        """max(p, n), for rounding allowances."""
        return max(self.features, self.kept.shape[1])

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
        columns = shifted(columns, -self.unit.to(columns)) if self.unit else columns
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
    g = torch.Generator("cpu").manual_seed(seed)
    rest = U.new_empty(len(U), width - U.shape[1]).normal_(generator=g)
    return torch.linalg.qr(torch.cat([U, rest], 1)).Q.mT.contiguous()


def measure_layer(
    record: LayerRecord,
    R: Tensor,
    larger: tuple[int, ...],
    labels: Any,
    seed: int,
    certified: tuple[np.ndarray, int] | None = None,
) -> dict[str, Any]:
    """One row of the probe's table."""
    k, n = R.shape
    V, spectrum, error = _leading_rows(record, max(k, *larger) if larger else k, k)
    Q = V[:k]
    row: dict[str, Any] = {
        "layer": record.name,
        "method": record.method,
        "features": record.features,
        "samples": n,
        "rank": k,
        "layer_rank": int(_layer_rank(record, spectrum)),
    }
    row |= {f"distance_{norm}": float(value) for norm, value in distances(R, Q).items()}
    for q in (k, *larger):
        inside = outside(R, V[:q])
        if q > k:
            row[f"containment_{q}"] = min(1.0, float(top_norm(inside)))
        row[f"share_{q}"] = 1 - float(inside.square().sum()) / k
        row[f"chance_{q}"] = min(q, n) / n
        row[f"shuffled_{q}"] = shuffled_share(R, V[:q])
    s = shifted(spectrum, record.unit.to(spectrum))
    row |= {f"s_{i}": float(nth(s, j)) for i, j in (("1", 1), ("rank", k), ("next", k + 1))}
    bound, *others = reference_sines(record, R, spectrum, [k, *larger]).tolist()
    row |= {"bound": bound, "verdict": "certifies" if bound < 1 else "silent"}
    row |= {f"containment_bound_{q}": value for q, value in zip(larger, others, strict=True)}
    if bound == math.inf:
        row["verdict"] = "no gap"
    row["sketch_error"] = error
    if certified is not None:
        row["certified_parts"] = _kept(Q, *certified)
    if labels is not None:
        row |= _scores(Q, labels, seed)
    return row | {"spectrum": s.numpy()}


def shuffled_share(R: Tensor, V: Tensor) -> float:
    """Mean of ‖R Π Vᵀ‖_F²/k over all n! orders Π of the samples; R (k, n), V (q, n) orthonormal.

    The constant vector stays where it is under every order; the rest is spread evenly:
    (ab + (k − a)(q − b)/(n − 1))/k with a = ‖R1‖²/n, b = ‖V1‖²/n. Chapter 25 has the proof.
    """
    k, n = R.shape
    a, b = (float(A.sum(1).square().sum()) / n for A in (R, V))
    return (a * b + (k - a) * (len(V) - b) / max(n - 1, 1)) / k


def certified_parts(certified: Any, n: int) -> tuple[np.ndarray, int]:
    """Parts (n,) and the number of clusters, of ``must_links`` or of labels."""
    if isinstance(certified, MustLinks):
        if certified.n_clusters is None:
            raise ValueError("certified must know the clusters; pass n_clusters to must_links")
        return target(certified.components, n, certified.n_clusters)
    return target(certified, n, None)


def _kept(Q: Tensor, parts: np.ndarray, n_clusters: int) -> str:
    several = np.bincount(parts) > 1
    broken = read_rows(Q, parts, n_clusters, 0.0).broken if len(Q) else np.ones_like(several)
    return f"{int((several & ~broken).sum())} of {int(several.sum())}"


def _layer_rank(record: LayerRecord, spectrum: Tensor) -> int:
    """Singular values above the rounding of the layer's own precision (of a Gram matrix's)."""
    rtol = record.size**0.5 * torch.finfo(record.dtype).eps
    if record.G is not None:
        rtol = max(rtol, (record.size * EPS) ** 0.5)
    return int((spectrum > rtol * spectrum[0]).sum())


def _leading_rows(record: LayerRecord, count: int, k: int) -> tuple[Tensor, Tensor, float]:
    """Leading right singular vectors (≤ count, n), the singular values, and the sketch's error."""
    kept = record.kept.double()
    space = factor(kept, min(kept.shape))
    V, s = space.V, space.s
    if record.S is None or record.G is None:
        found = min(count, _layer_rank(record, s))
        return V[:found], s, 0.0 if record.exact else math.nan
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
    missing = top_norm(lead.mT @ (G - M @ M.mT) @ lead)
    divided = 1 + 2 * float(s[0] / s[-1])  # M was divided by s
    slack = rounding_unit(record.size, EPS) * record.energy * divided
    gap = float(nth(inside, k) - (nth(spectrum, k + 1) ** 2 + slack).sqrt())
    error = math.sqrt(float(missing) + slack) / gap if gap > 0 and found >= k else 1.0
    return (Wh @ V)[:found], spectrum, min(error, 1.0)


def reference_sines(record: LayerRecord, R: Tensor, spectrum: Tensor, ranks: list[int]) -> Tensor:
    """The reference bound at each of the ranks, from Y or, as rigorous, from the exact sums."""
    eps = torch.finfo(record.dtype).eps
    if record.exact:
        found = compare(record.kept.double(), R, len(R), spectrum, eps)
        return torch.stack([replace(found, q=q).sine for q in ranks])
    t = torch.stack([nth(spectrum, q + 1) for q in ranks])
    return sine_from_sums(record.G, record.C, record.energy, t, record.size, eps)


def _scores(Q: Tensor, labels: np.ndarray, seed: int) -> dict[str, float]:
    classes = int(labels.max()) + 1
    if not len(Q):
        found = np.zeros(len(labels), dtype=np.int64)
    else:
        from subspace_lib.estimator import ProjectorClustering  # brings scikit-learn

        model = ProjectorClustering(classes, len(Q), random_state=seed)
        found = model.fit_predict(Q.mT.numpy())
    return clustering_scores(labels, found)
