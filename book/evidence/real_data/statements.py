"""Chapter 21, Real data."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import minimum_spanning_tree
from torch import Tensor

from evidence import instances as make
from evidence.instances import ROUNDING
from evidence.real_data.measures import cross_energy
from evidence.statement import Sides, statement
from subspace_lib.clustering import accuracy, single_linkage
from subspace_lib.projectors import row_basis


def cut(P: Tensor, n_clusters: int) -> float:
    """Weakest kept less strongest cut edge of the maximum spanning tree of |P|, K clusters."""
    size = P.abs().numpy()
    tree = minimum_spanning_tree(csr_matrix(np.triu(size.max() + 1 - size, 1)))
    edges = np.sort(size.max() + 1 - tree.data)  # K − 1 are cut
    return float(edges[n_clusters - 1] - edges[n_clusters - 2])


def _moved(P: Tensor, Q: Tensor, K: int, K_of_Q: int | None = None) -> Sides:
    """Half the cut of P where the clusters differ, 0 where they agree, against ‖P − Q‖_max."""
    left = [
        cut(p, K) / 2 if accuracy(single_linkage(p, K), single_linkage(q, K_of_Q or K)) < 1 else 0.0
        for p, q in zip(P, Q, strict=True)
    ]
    return Sides(make.vector(*left), make.largest(P - Q))


def _symmetric(A: Tensor) -> Tensor:
    return (A + A.mT) / 2


def _linkage(seed: int, count: int) -> Sides:
    """Blocks and noise; the other matrix near enough to agree or, more often, too far."""
    n, K = make.shape(seed, n=(4, 12), K=(2, 3))
    labels = torch.arange(n) % K
    same = (labels[:, None] == labels[None, :]).double()
    P = same + 0.3 * _symmetric(make.gaussian(seed, "P", count, n, n))
    size = make.log_uniform(seed, "size", -0.5, 1, count, 1, 1)
    return _moved(P, P + size * _symmetric(make.gaussian(seed, "Q", count, n, n)), K)


LINE = make.matrix([[0, 3, 0], [3, 0, 1], [0, 1, 0]])  # point 2 is with point 1, 3 is alone


def _linkage_extremal() -> Sides:
    """Edges 3 and 1 move to 1.999 and 2.001."""
    Q = make.matrix([[0, 1.999, 0], [1.999, 0, 2.001], [0, 2.001, 0]])
    return _moved(LINE[None], Q[None], 2)


statement(
    "same-linkage",
    "Proposition 21.2",
    "single linkage on |P| and |Q| differs only if ‖P − Q‖_max ≥ half the cut of |P|",
    _linkage,
    {"same number of clusters": lambda: _moved(LINE[None], LINE[None], 2, 1)},
    _linkage_extremal,
)


def _angle(V: Tensor, labels: Tensor) -> Tensor:
    """φ with sin² φ = cross-class energy of VᵀV."""
    return cross_energy(V, labels).clamp(0, 1).sqrt().asin()


def _shared(V: Tensor, U: Tensor, labels: Tensor, others: Tensor | None = None) -> Sides:
    """tr(PQ) against √(rq) cos(φ_P − φ_Q), P = VᵀV and Q = UᵀU."""
    between = _angle(V, labels) - _angle(U, labels if others is None else others)
    room = (V.shape[-2] * U.shape[-2]) ** 0.5 * between.cos()
    return Sides(make.square(V @ U.mT), room + ROUNDING)


def _energy(seed: int, count: int) -> Sides:
    """From nearly equal row spaces to unrelated ones, from blocks to none."""
    n, K, r, q = make.shape(seed, n=(6, 14), K=(2, 3), r=(1, 4), q=(1, 4))
    labels = torch.arange(n) % K
    own = torch.nn.functional.one_hot(torch.arange(r) % K, K).double() @ (
        torch.nn.functional.one_hot(labels, K).double().mT
    )  # row i lives on one class
    mix = make.log_uniform(seed, "mix", -3, 1, count, 1, 1)
    A = own * make.gaussian(seed, "A", count, r, n) + mix * make.gaussian(seed, "B", count, r, n)
    move = make.log_uniform(seed, "move", -3, 1, count, 1, 1)
    lead = A[:, torch.arange(q) % r]
    C = lead + move * make.gaussian(seed, "C", count, q, n)
    return _shared(row_basis(A, r), row_basis(C, q), labels)


PAIR = torch.tensor([0, 1])  # two classes of one point


def _energy_extremal() -> Sides:
    """e₁ and a vector 0.1 away from it."""
    turned = make.matrix([[math.cos(0.1), math.sin(0.1)]])
    return _shared(make.matrix([[1, 0]])[None], turned[None], PAIR)


def _no_projector() -> Sides:
    """Q = 4 e₁e₁ᵀ is longer than a projector of its rank."""
    V = make.matrix([[1, 0]])[None]
    return _shared(V, 2 * V, PAIR)


def _other_classes() -> Sides:
    """The same projector seen with one class and with two."""
    V = make.matrix([[0.5**0.5, 0.5**0.5]])[None]
    return _shared(V, V, PAIR, torch.tensor([0, 0]))


statement(
    "preserved-or-block-diagonal",
    "Theorem 21.1",
    "tr(PQ) ≤ √(rq) cos(φ_P − φ_Q), sin²φ the cross-class energy",
    _energy,
    {"projectors": _no_projector, "the same classes": _other_classes},
    _energy_extremal,
)
