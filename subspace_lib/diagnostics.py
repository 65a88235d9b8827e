"""Everything measured on the layers of a network at a checkpoint, for all trials at once.

Each representation is factored once, A = U diag(s) V, and every distance, gap and bound is taken
from the factors. A wide A (p < n) is reduced to its p×p triangular factor first: as accurate as the
singular value decomposition of A and cheaper. A tall or square A goes through AᵀA where that is
allowed: it loses a factor s_1/s_j of accuracy, so every singular value in use must exceed
GRAM_FLOOR · s_1 (three of sixteen digits lost at most); otherwise the triangular factor serves.
Elsewhere Gram matrices give only the *largest* singular value, to full relative accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.bounds import chain_verdict, divide, link_terms
from subspace_lib.certificate import INF
from subspace_lib.clustering import connectivity_margin, minimum_margin
from subspace_lib.data import UnionOfSubspaces
from subspace_lib.entrywise import certified_share
from subspace_lib.estimator import _spectral_labels, neighbour_graph
from subspace_lib.networks import Layer, Network, Params, check_columns
from subspace_lib.reference import _sine, _tangent
from subspace_lib.trajectory import Checkpoint

EPS = torch.finfo(torch.float64).eps
NORMS = ("max", "spectral", "fro")
PAIRS = (
    "clean_to_data", "clean_to_pre", "clean_to_post", "data_to_post",
    "previous_to_pre", "previous_to_post",
)  # fmt: skip
LARGER = ("r1", "2r", "4r")  # top r + 1, 2r and 4r directions
GROUPS: dict[str, tuple[str, ...]] = {
    "distances": tuple(f"{pair}_{norm}" for pair in PAIRS for norm in NORMS),
    "containment": (
        "share_r", *(f"{kind}_{q}" for q in LARGER for kind in ("share", "sine")), "rank",
    ),
    "activation": ("negative_share", "energy_removed", "change_spectral", "dead_units"),
    "chain": (
        "minimum_margin", "connectivity_margin", "delta_1", "delta_2", "delta_3",
        "printed_ratio", "printed_holds", "two_links_bound", "two_links_holds", "links_holds",
        "activation_error", "image_norm",
    ),
    "reference": (
        "reference_bound", "reference_bound_affine", *(f"affine_to_post_{n}" for n in NORMS),
    ),
    "certified": ("certified_share", "certified_share_affine"),
    "profile": ("reference_bound_profile", "profile_to_post_spectral", "certified_share_profile"),
    "clusters": ("acc", "nmi", "ari"),
    "spectral": ("spectral_acc", "spectral_acc_r1"),
}  # fmt: skip
GRAM_FLOOR = 1e-3
NEIGHBOURS = 20  # of a point in the graph of spectral clustering, the estimator's default
CPU_TRIALS, CUDA_BYTES = 10, 2**31  # trials at a time: a few n×n matrices of each are alive
TILE = 100  # rows of P − Q at a time: what fits the cache is several times faster


def diagnose(
    network: Network,
    params: Params,
    data: UnionOfSubspaces,
    *,
    groups: Sequence[str] | None = None,
    certify: bool = True,
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Names of the observed layers, and every diagnostic as name → (layers, trials), float64.

    X*, X are the clean and noisy data, r the rank, "pre" WX (+ b), "post" Y = σ(pre); a distance
    is ‖P_r(·) − P_r(·)‖. NaN: not defined there, or the trial's parameters are not finite.
      distances    {clean_to_data, clean_to_pre, clean_to_post, data_to_post, previous_to_pre,
                   previous_to_post}_{max, spectral, fro}; "previous" is the layer before, X for
                   the first: how far the affine map, and the whole layer, moves the row space
      containment  share_{r, r1, 2r, 4r}: ‖V_q V*ᵀ‖_F²/r, the share of P(X*) in the top q = r,
                   r + 1, 2r, 4r directions of Y (q/n by chance); sine_{r1, 2r, 4r} of the largest
                   angle from row(X*) into them (0: contained); rank: numerical rank of Y
      activation   negative_share of pre; energy_removed ‖Y − pre‖_F²/‖pre‖_F²; change_spectral
                   ‖Y − pre‖; dead_units: rows of Y that are identically zero
      chain        minimum_margin, connectivity_margin of P(X*); δ₁ = s_r(X*) − s_{r+1}(X);
                   δ₂ = s_r(WA*) − s_{r+1}(WA), δ₃ = s_r(Y) − s_{r+1}(WA), where A is the layer's
                   own input and A* its rank-r truncation (first layer: X and X*). The bias counts
                   as part of Y − WA. two_links_bound = ‖W(A − A*)‖/δ₂ + ‖Y − WA‖/δ₃, which
                   bounds ‖P_r(A*) − P_r(Y)‖; two_links_holds: below half the connectivity margin.
                   First layer only: printed_ratio = min δ / η with the paper's ε (the minimum
                   margin) and printed_holds = ratio > 1; links_holds: every link against its own
                   error, with the connectivity margin. activation_error ‖Y − WA‖, image_norm ‖WA‖
      reference    reference_bound: for R = row(X*), q = r, on ‖P(X*) − P_r(Y)‖; _affine: for
                   R = row(X*) + 1ᵀ, q = r + 1; affine_to_post_*: what the latter bounds
      certified    certified_share(_affine) of the points, with the two references: expensive
      profile      reference_bound, the distance it bounds, and certified_share for R = row(X*) and
                   the norms of the points, which a bias-free ReLU layer adds: expensive
      clusters     acc, nmi, ari of single linkage on |P_r(Y)|, the number of clusters known
      spectral     accuracy of spectral clustering of |P_r(Y)| and |P_{r+1}(Y)|, entries divided by
                   √(P_ii P_jj) as in ``ProjectorClustering``: expensive
    Where Y has numerical rank below r, P_r(Y) is the projector on the row space it has.
    Computed in float64 from the parameters, on the device of the data. certify=False leaves
    the expensive groups NaN. Raises ValueError for another group, TypeError for other data.
    """
    check_columns(network, data.X)
    finite = torch.stack([torch.isfinite(p.flatten(1)).all(1) for p in params.values()]).all(0)
    return Diagnostics(data, groups=groups).measure(network, params, finite, certify=certify)


@dataclass(frozen=True)
class Space:
    """Row space of A (…, p, n): singular values s and right singular vectors, both padded by zeros.

    s: (…, q + 1) and V: (…, q, n); rows beyond the numerical rank are zero, so that VᵀV is the
    projector on what is there. rank: (…). size: max(p, n), for rounding allowances.
    """

    s: Tensor
    V: Tensor
    rank: Tensor
    size: int

    def slack(self) -> Tensor:
        """As ``rounding_allowance(A)``."""
        return 10 * self.size * EPS * self.s[..., 0]

    def part(self, chosen: Tensor) -> Space:
        """Some trials; a space without its own trial axis (length 1) is shared."""
        if len(self.s) == 1:
            return self
        return Space(self.s[chosen], self.V[chosen], self.rank[chosen], self.size)


def factor(A: Tensor, q: int) -> Space:
    """The q leading right singular vectors of A (…, p, n) and q + 1 singular values."""
    p, n = A.shape[-2:]
    if p < n:  # Aᵀ = QR, A = RᵀQᵀ
        Q, R = torch.linalg.qr(A.mT)
        _, s, Vh = torch.linalg.svd(R.mT)
        V = Vh[..., :q, :] @ Q.mT
    else:
        s, V = _tall(A, q)
    tiny = max(p, n) * EPS * s[..., :1]
    V = V * (s[..., :q] > tiny)[..., None]
    missing = max(0, q + 1 - s.shape[-1])
    V = torch.nn.functional.pad(V, (0, 0, 0, q - V.shape[-2]))
    return Space(
        torch.nn.functional.pad(s, (0, missing))[..., : q + 1], V, (s > tiny).sum(-1), max(p, n)
    )


def _tall(A: Tensor, q: int) -> tuple[Tensor, Tensor]:
    """Singular values and the q leading right singular vectors for p ≥ n."""
    squares, vectors = torch.linalg.eigh(A.mT @ A)
    s = squares.clamp(min=0).sqrt().flip(-1)
    if (s[..., min(q, s.shape[-1] - 1)] > GRAM_FLOOR * s[..., 0]).all():
        return s, vectors.flip(-1).mT[..., :q, :]
    _, s, Vh = torch.linalg.svd(torch.linalg.qr(A, mode="r").R)
    return s, Vh[..., :q, :]


def singular_values(A: Tensor) -> Tensor:
    """All of them, largest first, from the triangular factor. A: (…, p, n) → (…, min(p, n))."""
    wide = A.shape[-2] < A.shape[-1]
    return torch.linalg.svdvals(torch.linalg.qr(A.mT if wide else A, mode="r").R)


def top_norm(A: Tensor) -> Tensor:
    """‖A‖ from the smaller Gram matrix, relatively accurate. A: (…, p, n) → (…)."""
    G = A @ A.mT if A.shape[-2] <= A.shape[-1] else A.mT @ A
    return torch.linalg.eigvalsh(G)[..., -1].clamp(min=0).sqrt()


def residual(V: Tensor, U: Tensor) -> Tensor:
    """V(I − UᵀU); the second pass removes what rounding left along U."""
    rest = V - (V @ U.mT) @ U
    return rest - (rest @ U.mT) @ U


def distance(V: Tensor, U: Tensor) -> dict[str, Tensor]:
    """‖VᵀV − UᵀU‖ in the three norms; V, U: (c, k, n), orthonormal rows or zero rows."""
    V, U = torch.broadcast_tensors(V, U)
    ranks = [W.square().sum((-2, -1)).round() for W in (V, U)]
    rest = residual(V, U)
    spectral = torch.where(ranks[0] == ranks[1], top_norm(rest).clamp(max=1), 1.0)
    # ‖P − Q‖_F² = rank P + rank Q − 2 tr PQ, and ‖(I − Q)P‖_F² = rank P − tr PQ has no cancellation
    fro = (2 * rest.square().sum((-2, -1)) + (ranks[1] - ranks[0])).clamp(min=0).sqrt()
    return {"max": _largest_entry(V, U), "spectral": spectral, "fro": fro}


def _largest_entry(V: Tensor, U: Tensor) -> Tensor:
    """‖VᵀV − UᵀU‖_max; the difference is symmetric, so its upper triangle is enough."""
    left, right = torch.cat([V, U], -2).mT.contiguous(), torch.cat([V, -U], -2)
    tiles = [
        (left[..., i : i + TILE, :] @ right[..., i:]).abs_().amax((-2, -1))
        for i in range(0, V.shape[-1], TILE)
    ]
    return torch.stack(tiles).amax(0)


def single_linkage_labels(V: Tensor, n_clusters: int) -> Tensor:
    """Single linkage on |VᵀV|, K clusters: (c, n) labels. V: (c, r, n).

    Prim's algorithm on all trials at once, one row of |VᵀV| at a time. Every edge that is kept is
    stronger than every edge that is cut, so Prim finishes a cluster before it leaves it: the
    clusters are runs in the order of its visits, cut at the K − 1 weakest edges.
    """
    c, _, n = V.shape
    order = torch.zeros(c, n, dtype=torch.long, device=V.device)
    strength = torch.full((c, n), INF, dtype=V.dtype, device=V.device)  # of the edge to position i
    best = torch.zeros(c, n, dtype=V.dtype, device=V.device)
    visited = torch.zeros(c, n, dtype=torch.bool, device=V.device)
    j = torch.zeros(c, 1, dtype=torch.long, device=V.device)
    for i in range(n):
        order[:, i] = j[:, 0]
        visited.scatter_(1, j, True)
        column = V.gather(2, j[:, None, :].expand(-1, V.shape[1], 1))  # (c, r, 1)
        best = torch.maximum(best, (column.mT @ V)[:, 0].abs_()).masked_fill_(visited, -1.0)
        if i + 1 < n:
            strength[:, i + 1 : i + 2], j = best.max(1, keepdim=True)
    cut = torch.zeros_like(visited)
    if n_clusters > 1:
        weakest = strength.argsort(dim=1, stable=True)[:, : n_clusters - 1]
        cut.scatter_(1, weakest, True)
    return torch.zeros_like(order).scatter_(1, order, cut.long().cumsum(1))


def spectral_clusters(V: Tensor, n_clusters: int) -> Tensor:
    """Spectral clustering of |VᵀV|, as ``ProjectorClustering`` does it. V: (c, q, n) → (c, n)."""
    length = torch.linalg.vector_norm(V, dim=-2, keepdim=True)
    rows = (V / length.clamp(min=torch.finfo(V.dtype).tiny)).mT  # a dead point stays zero
    graphs = [neighbour_graph(F, NEIGHBOURS) for F in rows.cpu().numpy()]
    found = [
        _spectral_labels(g, n_clusters, np.random.RandomState(0))
        if g.sum()
        else np.zeros(V.shape[-1], int)
        for g in graphs
    ]
    return torch.from_numpy(np.stack(found)).to(V.device)


def scores(true: Tensor, found: Tensor, n_clusters: int) -> dict[str, Tensor]:
    """ACC, NMI (arithmetic) and ARI of labels found (c, n) against true ones (n,): (c,) each."""
    one_hot = torch.nn.functional.one_hot
    table = one_hot(true, n_clusters).double().mT @ one_hot(found, n_clusters).double()  # (c, K, K)
    n, rows, columns = float(len(true)), table.sum(-1), table.sum(-2)
    matched = [t[linear_sum_assignment(t, maximize=True)].sum() for t in table.cpu().numpy()]

    def entropy(counts: Tensor) -> Tensor:
        return -torch.special.xlogy(counts / n, counts / n).sum(-1)

    def pairs(counts: Tensor) -> Tensor:
        return (counts * (counts - 1) / 2).sum(-1)

    mutual = (entropy(rows) + entropy(columns) - entropy(table.flatten(-2))).clamp(min=0)
    size = (entropy(rows) + entropy(columns)) / 2
    both, chance = pairs(table.flatten(-2)), pairs(rows) * pairs(columns) / (n * (n - 1) / 2)
    most = (pairs(rows) + pairs(columns)) / 2
    same = torch.ones_like(mutual)  # one cluster on both sides
    return {
        "acc": torch.tensor(np.array(matched) / n, dtype=torch.float64, device=found.device),
        "nmi": torch.where(size > 0, mutual / size, same),
        "ari": torch.where(most > chance, (both - chance) / (most - chance), same),
    }


def reference_bound(Y: Tensor, space: Space, R: Tensor, q: int) -> Tensor:
    """The bound of ``subspace_lib.reference_bound``, with the singular values of Y at hand."""
    k = R.shape[-2]
    coordinates = Y @ R.mT
    U, sigma, _ = torch.linalg.svd(coordinates, full_matrices=False)
    s = sigma[..., k - 1] if k <= sigma.shape[-1] else torch.zeros_like(sigma[..., 0])
    t, slack = space.s[..., q], space.slack()
    E = Y - coordinates @ R
    E = E - (E @ R.mT) @ R
    F0 = (E.mT @ U) / sigma.clamp(min=1e-150)[..., None, :]
    F0 = torch.where((s - t > 2 * slack)[..., None, None], F0, 0.0)  # vacuous, and may overflow
    return _sine(*_tangent(top_norm(F0) * s, s, t, slack))


class Diagnostics:
    """The clean and noisy data, factored once, and the measuring of layers against them.

    As ``train(..., measure=Diagnostics(data))`` it gives ``diagnose`` at every checkpoint. groups:
    the names of some groups, None for all. certify: the steps at which the expensive groups are
    evaluated; None: at the last checkpoint, so that measuring stays a small part of the run.
    The data need not be those that are trained on: other points of the same subspaces serve too.
    """

    def __init__(
        self,
        data: UnionOfSubspaces,
        *,
        groups: Sequence[str] | None = None,
        certify: Sequence[int] | None = None,
    ) -> None:
        groups = tuple(GROUPS) if groups is None else groups
        for group in groups:
            check.one_of(group, tuple(GROUPS), "a group of diagnostics")
        self.groups = tuple(g for g in GROUPS if g in groups)
        self.names = [name for g in self.groups for name in GROUPS[g]]
        self.source, self.certify = data, certify
        self.rank, self.n_clusters = data.rank, data.n_clusters
        self.device: torch.device | None = None

    def __call__(self, network: Network, now: Checkpoint) -> dict[str, np.ndarray]:
        """Every diagnostic at a checkpoint of a run, name → (L, T)."""
        certify = now.last if self.certify is None else now.step in self.certify
        finite = torch.from_numpy(np.isfinite(now.loss))
        return self.measure(network, now.params, finite, certify=certify)[1]

    def _factor(self, device: torch.device) -> None:
        """Factor the data where the networks are."""
        if self.device == device:
            return
        self.device, data, groups = device, self.source, self.groups
        self.labels = data.labels.to(device)
        X, clean = (check.matrix(A, "data").to(device).double() for A in (data.X, data.clean))
        if X.ndim == 2:
            X, clean = X[None], clean[None]
        self.X, self.clean_X = X, clean
        self.clean = self._factor_clean(data, clean)
        self.data = self.clean if torch.equal(X, clean) else factor(X, self.rank)
        V = self.clean.V
        one, norms = torch.ones_like(V[..., :1, :]), clean.norm(dim=-2, keepdim=True)
        affine = "reference" in groups or "certified" in groups
        self.affine = self._beside(V, one) if affine else None
        self.profile = self._beside(V, norms) if "profile" in groups else None
        self.fixed = self._constants()

    def _factor_clean(self, data: UnionOfSubspaces, clean: Tensor) -> Space:
        """X* = U V has r rows in the coordinates of its bases; other data take the long way."""
        Q = torch.linalg.qr(data.bases.to(clean).reshape(-1, *data.bases.shape[-2:])).Q
        small = Q.mT @ clean
        missed = torch.linalg.vector_norm(clean - Q @ small, dim=(-2, -1))
        exact = missed <= 100 * EPS * torch.linalg.vector_norm(clean, dim=(-2, -1))
        space = factor(small if exact.all() else clean, self.rank)
        return Space(space.s, space.V, space.rank, max(clean.shape[-2:]))

    @staticmethod
    def _beside(V: Tensor, row: Tensor) -> Tensor | None:
        """Orthonormal rows that span row(X*) and one more row; None if that lies in it already."""
        rest = residual(row / torch.linalg.vector_norm(row, dim=-1, keepdim=True), V)
        length = torch.linalg.vector_norm(rest, dim=-1, keepdim=True)
        return torch.cat([V, rest / length], -2) if (length > 1e-6).all() else None

    def _constants(self) -> dict[str, Tensor]:
        """What depends on the data alone, (T,) or (1,) each."""
        fixed: dict[str, Tensor] = {}
        if "distances" in self.groups:
            found = distance(self.clean.V, self.data.V)
            fixed |= {f"clean_to_data_{norm}": value for norm, value in found.items()}
        if "chain" in self.groups:
            labels = self.labels.cpu().numpy()
            P = [V.mT @ V for V in self.clean.V]  # one at a time: n×n each
            fixed["minimum_margin"] = torch.stack([minimum_margin(p, labels) for p in P])
            fixed["connectivity_margin"] = torch.stack([connectivity_margin(p, labels) for p in P])
            noise = top_norm(self.X - self.clean_X)
            fixed["delta_1"], self.noise_error = link_terms(
                self.clean.s, self.data.s, noise, self.rank, self.clean.size, None
            )
        return fixed

    @torch.no_grad()
    def measure(
        self, network: Network, params: Params, finite: Tensor, *, certify: bool
    ) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
        """Layer names, and name → (L, T); only the trials marked finite are looked at."""
        self._factor(next(iter(params.values())).device)
        trials, finite = len(finite), finite.to(self.X.device)
        if len(self.X) not in (1, trials):
            raise ValueError(
                f"the diagnostics' data must have {trials} trials as the networks do, or one that "
                f"they share, got {len(self.X)}"
            )
        one = {name: p[:1].double() for name, p in params.items()}
        seen = network.layers(one, self.X[:1])
        found = {name: np.full((len(seen), trials), np.nan) for name in self.names}
        usable = finite.nonzero()[:, 0]

        def look(part: Tensor) -> list[dict[str, Tensor]]:
            own = {name: p[part].double() for name, p in params.items()}
            with torch.no_grad():  # a mode of the thread
                return self._trials(network, own, part, certify)

        parts = self._parts(usable)
        for part, layers in zip(parts, _side_by_side(look, parts), strict=True):
            for i, values in enumerate(layers):
                for name, value in values.items():
                    found[name][i, part.cpu().numpy()] = value.double().cpu().numpy()
        return tuple(layer.name for layer in seen), found

    def _parts(self, usable: Tensor) -> list[Tensor]:
        """Trials that are measured together: few enough for the memory, and for every core some."""
        if not len(usable):
            return []
        n, most = self.X.shape[-1], CPU_TRIALS
        if self.X.is_cuda:
            most = max(1, CUDA_BYTES // (64 * n * n))
        else:
            most = min(most, -(-len(usable) // torch.get_num_threads()))
        return list(usable.split(most))

    def _trials(
        self, network: Network, params: Params, part: Tensor, certify: bool
    ) -> list[dict[str, Tensor]]:
        """All diagnostics of some trials, layer by layer."""
        X, clean = (A if len(A) == 1 else A[part] for A in (self.X, self.clean_X))
        stars, data = self.clean.part(part), self.data.part(part)  # X*, X
        layers = network.layers(params, X.expand(len(part), -1, -1))
        if self.groups == ("activation",):  # needs no row space
            return [_activation(layer) for layer in layers]
        posts = [factor(layer.post, 4 * self.rank) for layer in layers]
        results = []
        for layer, post in zip(layers, posts, strict=True):
            before = None if layer.previous is None else posts[layer.previous]
            pre = None
            if layer.pre is not None and "distances" in self.groups:
                pre = factor(layer.pre, self.rank)
            values = {name: _of(value, part) for name, value in self.fixed.items()}
            if "distances" in self.groups:
                values |= self._distances(stars, data, before or data, pre, post)
            if "containment" in self.groups:
                values |= self._containment(stars, post)
            if "activation" in self.groups:
                values |= _activation(layer)
            if "chain" in self.groups and layer.weight is not None:
                source = X if layer.previous is None else layers[layer.previous].post
                known = values.get("change_spectral") if layer.bias is None else None
                values |= self._links(layer, source, clean, before, pre, post, part, known)
            values |= self._references(layer.post, post, stars, part, certify)
            if self.profile is not None and certify:
                values |= self._with_profile(layer.post, post, part)
            if "spectral" in self.groups and certify:
                for name, q in (("spectral_acc", self.rank), ("spectral_acc_r1", self.rank + 1)):
                    found = spectral_clusters(post.V[:, :q], self.n_clusters)
                    values[name] = scores(self.labels, found, self.n_clusters)["acc"]
            results.append(values)
        if "clusters" in self.groups:  # all layers in one go: Prim's steps are many and tiny
            V = torch.cat([post.V[:, : self.rank] for post in posts])
            linked = scores(self.labels, single_linkage_labels(V, self.n_clusters), self.n_clusters)
            for name, value in linked.items():
                for values, own in zip(results, value.split(len(part)), strict=True):
                    values[name] = own
        return results

    def _distances(
        self, clean: Space, data: Space, before: Space, pre: Space | None, post: Space
    ) -> dict[str, Tensor]:
        r = self.rank
        V, previous = post.V[..., :r, :], before.V[..., :r, :]
        pairs = {"clean_to_post": (clean.V, V), "data_to_post": (data.V, V)}
        if pre is not None:
            pairs |= {"clean_to_pre": (clean.V, pre.V), "previous_to_pre": (previous, pre.V)}
        if before is not data:
            pairs["previous_to_post"] = (previous, V)
        found = {pair: distance(*bases) for pair, bases in pairs.items()}
        found.setdefault("previous_to_post", found["data_to_post"])
        return {f"{p}_{norm}": v for p, values in found.items() for norm, v in values.items()}

    def _containment(self, clean: Space, post: Space) -> dict[str, Tensor]:
        r = self.rank
        cosines = (clean.V @ post.V.mT).square().sum(-2)  # (c, 4r): weight on each direction
        values = {"share_r": cosines[..., :r].sum(-1) / r, "rank": post.rank}
        for name, q in zip(LARGER, (r + 1, 2 * r, 4 * r), strict=True):
            values[f"share_{name}"] = cosines[..., :q].sum(-1) / r
            values[f"sine_{name}"] = top_norm(residual(clean.V, post.V[..., :q, :])).clamp(max=1)
        return values

    def _links(
        self,
        layer: Layer,
        source: Tensor,
        clean: Tensor,
        before: Space | None,
        pre: Space | None,
        post: Space,
        part: Tensor,
        change: Tensor | None,
    ) -> dict[str, Tensor]:
        """The chain across one layer: P_r(A*) = P_r(WA*) → P_r(WA) → P_r(Y).

        change: ‖Y − WA‖ where it is known already.
        """
        r, W = self.rank, layer.weight
        assert W is not None
        assert layer.pre is not None
        WA = layer.pre if layer.bias is None else layer.pre - layer.bias[..., None]
        if before is None:  # first layer: A* = X* is known
            starred, V = clean, self.clean.part(part).V
        else:  # A* is the truncation of A
            starred, V = source, before.V[..., :r, :]
        image = W @ (starred @ V.mT)  # (c, p, r), and W A* = image V
        s_image = torch.linalg.svdvals(image)
        s_through = pre.s if pre is not None and layer.bias is None else singular_values(WA)
        size = max(*WA.shape[-2:], W.shape[-1])
        scale = top_norm(W) * (self.data.part(part) if before is None else before).s[..., 0]
        gap_2, error_2 = link_terms(s_image, s_through, top_norm(WA - image @ V), r, size, scale)
        change = top_norm(layer.post - WA) if change is None else change
        gap_3, error_3 = link_terms(post.s, s_through, change, r, size, scale)
        bound = divide(error_2, gap_2) + divide(error_3, gap_3)
        values = {"delta_2": gap_2, "delta_3": gap_3, "two_links_bound": bound}
        values |= {"activation_error": error_3, "image_norm": s_through[..., 0]}
        values["two_links_holds"] = bound < _of(self.fixed["connectivity_margin"], part) / 2
        if before is None:
            gaps = torch.stack([_of(self.fixed["delta_1"], part), gap_2, gap_3])
            errors = torch.stack([_of(self.noise_error, part), error_2, error_3])
            epsilon = _of(self.fixed["minimum_margin"], part)
            cert = chain_verdict(gaps, errors, r, epsilon, "printed")
            values |= {"printed_ratio": cert.gap / cert.threshold, "printed_holds": cert.holds}
            epsilon = _of(self.fixed["connectivity_margin"], part)
            values["links_holds"] = chain_verdict(gaps, errors, r, epsilon, "links").holds
        return values

    def _references(
        self, Y: Tensor, post: Space, stars: Space, part: Tensor, certify: bool
    ) -> dict[str, Tensor]:
        """Bounds and certificates with R = row(X*), and with R = row(X*) + 1ᵀ."""
        values: dict[str, Tensor] = {}
        affine = self.affine
        if affine is not None and len(affine) > 1:
            affine = affine[part]
        for suffix, R in (("", stars.V), ("_affine", affine)):
            if R is None:
                continue
            bound = reference_bound(Y, post, R, R.shape[-2])
            if "reference" in self.groups:
                values[f"reference_bound{suffix}"] = bound
            if "certified" in self.groups and certify:
                values[f"certified_share{suffix}"] = self._certified(Y, post, R, bound)
        if affine is not None and "reference" in self.groups:
            found = distance(affine, post.V[..., : affine.shape[-2], :])
            values |= {f"affine_to_post_{norm}": value for norm, value in found.items()}
        return values

    def _with_profile(self, Y: Tensor, post: Space, part: Tensor) -> dict[str, Tensor]:
        """With R = row(X*) and the norms of the clean points."""
        assert self.profile is not None
        R = self.profile if len(self.profile) == 1 else self.profile[part]
        bound = reference_bound(Y, post, R, R.shape[-2])
        return {
            "reference_bound_profile": bound,
            "profile_to_post_spectral": distance(R, post.V[..., : R.shape[-2], :])["spectral"],
            "certified_share_profile": self._certified(Y, post, R, bound),
        }

    def _certified(self, Y: Tensor, post: Space, R: Tensor, bound: Tensor) -> Tensor:
        """Certified share; 0 without a look where the reference bound is vacuous already."""
        share = torch.zeros_like(bound)
        for i in (bound < INF).nonzero()[:, 0].tolist():
            R_i = R[0] if len(R) == 1 else R[i]
            share[i] = certified_share(Y[i], R_i, self.labels, post.s[i])
        return share


def _side_by_side(
    look: Callable[[Tensor], list[dict[str, Tensor]]], parts: list[Tensor]
) -> list[list[dict[str, Tensor]]]:
    """look(part) for every part, on the processor one part per core at a time.

    Batched factorisations of small matrices run on one core, however many there are.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(parts) < 2 or parts[0].is_cuda:
        return [look(part) for part in parts]
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(look, parts))
    finally:
        torch.set_num_threads(threads)


def _of(value: Tensor, part: Tensor) -> Tensor:
    """A number per trial, for some trials; one that all trials share is repeated."""
    return value.expand(len(part)) if len(value) == 1 else value[part]


def _activation(layer: Layer) -> dict[str, Tensor]:
    values = {"dead_units": (layer.post == 0).all(-1).sum(-1)}
    if layer.pre is None:
        return values
    change = layer.post - layer.pre
    size = layer.pre.square().sum((-2, -1))
    return values | {
        "negative_share": (layer.pre < 0).double().mean((-2, -1)),
        "energy_removed": divide(change.square().sum((-2, -1)), size),
        "change_spectral": top_norm(change),
    }
