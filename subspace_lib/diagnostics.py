"""Everything measured on the layers of a network at a checkpoint, for all trials at once.

Each representation is factored once; distances, gaps and bounds are taken from its ``RowSpace``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from subspace_lib import _checks as check
from subspace_lib.bounds import chain_verdict, divide
from subspace_lib.certificate import INF
from subspace_lib.chain import link_terms
from subspace_lib.clustering import (
    batched_scores,
    connectivity_margin,
    linkage_clusters,
    minimum_margin,
    spectral_clusters,
)
from subspace_lib.data import UnionOfSubspaces, check_data
from subspace_lib.entrywise import certified_share
from subspace_lib.networks.base import Layer, Network, Params, check_columns
from subspace_lib.reference import compare
from subspace_lib.rowspace import (
    NORMS,
    RowSpace,
    distances,
    factor,
    largest_sine,
    outside,
    rounding_unit,
    singular_values,
    top_norm,
)
from subspace_lib.trajectory import Checkpoint

PAIRS = "clean_to_data clean_to_pre clean_to_post data_to_post previous_to_pre previous_to_post"
LARGER = ("r1", "2r", "4r")  # top r + 1, 2r and 4r directions
CHAIN = (
    "minimum_margin connectivity_margin delta_1 delta_2 delta_3 printed_ratio printed_holds "
    "two_links_bound two_links_holds links_holds activation_error image_norm"
)
GROUPS = {
    "distances": tuple(f"{pair}_{norm}" for pair in PAIRS.split() for norm in NORMS),
    "containment": ("share_r", *(f"{k}_{q}" for q in LARGER for k in ("share", "sine")), "rank"),
    "activation": ("negative_share", "energy_removed", "change_spectral", "dead_units"),
    "chain": tuple(CHAIN.split()),
    "reference": (
        *("reference_bound", "reference_bound_affine"),
        *(f"affine_to_post_{norm}" for norm in NORMS),
    ),
    "certified": ("certified_share", "certified_share_affine"),
    "profile": ("reference_bound_profile", "profile_to_post_spectral", "certified_share_profile"),
    "clusters": ("acc", "nmi", "ari"),
    "spectral": ("spectral_acc", "spectral_acc_r1"),
}
MARGINS = {"minimum_margin": minimum_margin, "connectivity_margin": connectivity_margin}
CPU_TRIALS, CUDA_BYTES = 10, 2**31  # trials at a time: a few n×n matrices of each are alive
ENTRIES = 2**20  # of projectors at a time where nothing else is alive


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

    >>> network = sl.FeedForward((30, 16, 30))
    >>> names, found = sl.diagnostics.diagnose(network, network.init(trials=2, seed=0), noisy)
    >>> names, found["acc"].shape
    (('layer 1',), (1, 2))
    """
    check_columns(network, check_data(data).X)
    finite = torch.stack([torch.isfinite(p.flatten(1)).all(1) for p in params.values()]).all(0)
    return Diagnostics(data, groups=groups).measure(network, params, finite, certify=certify)


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
        for group in check.several(groups, "groups"):
            check.one_of(group, tuple(GROUPS), "groups")
        self.groups = tuple(g for g in GROUPS if g in groups)
        self.names = [name for g in self.groups for name in GROUPS[g]]
        self.source, self.certify = check_data(data), certify
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
        self.device, data = device, self.source
        self.labels = data.labels.to(device)
        X, clean = (check.matrix(A, "data").to(device) for A in (data.X, data.clean))
        # of the precision in which the data came: X* in float32 has rank r only up to 6e-8
        self.eps = max(torch.finfo(A.dtype).eps for A in (X, clean))
        X, clean = (A.double().reshape(-1, *A.shape[-2:]) for A in (X, clean))
        self.X, self.clean_X = X, clean
        self.clean = self._factor_clean(data, clean)
        self.data = self.clean if torch.equal(X, clean) else self._space(X, self.rank)
        V, norms = self.clean.V, clean.norm(dim=-2, keepdim=True)
        rows = {"_affine": torch.ones_like(norms), "_profile": norms}
        beside = {suffix: self._beside(V, row) for suffix, row in rows.items()}
        self.references = {"": V} | {key: R for key, R in beside.items() if R is not None}
        self.fixed = self._constants()

    def _space(self, A: Tensor, q: int) -> RowSpace:
        return factor(A, q, gram=True, eps=self.eps)

    def _factor_clean(self, data: UnionOfSubspaces, clean: Tensor) -> RowSpace:
        """X* = U V has r rows in the coordinates of its bases; other data take the long way."""
        Q = torch.linalg.qr(data.bases.to(clean).reshape(-1, *data.bases.shape[-2:])).Q
        small = Q.mT @ clean
        missed = torch.linalg.vector_norm(clean - Q @ small, dim=(-2, -1))
        exact = missed <= 100 * self.eps * torch.linalg.vector_norm(clean, dim=(-2, -1))
        space = self._space(small if exact.all() else clean, self.rank)
        return replace(space, size=max(clean.shape[-2:]))

    @staticmethod
    def _beside(V: Tensor, row: Tensor) -> Tensor | None:
        """Orthonormal rows that span row(X*) and one more row; None if that lies in it already."""
        rest = outside(row / torch.linalg.vector_norm(row, dim=-1, keepdim=True), V)
        length = torch.linalg.vector_norm(rest, dim=-1, keepdim=True)
        return torch.cat([V, rest / length], -2) if (length > 1e-6).all() else None

    def _constants(self) -> dict[str, Tensor]:
        """What depends on the data alone, (T,) or (1,) each."""
        fixed: dict[str, Tensor] = {}
        if "distances" in self.groups:
            found = distances(self.clean.V, self.data.V)
            fixed |= {f"clean_to_data_{norm}": value for norm, value in found.items()}
        if "chain" in self.groups:
            labels = self.labels.cpu().numpy()
            some = self.clean.V.split(max(1, ENTRIES // self.X.shape[-1] ** 2))
            for name, margin in MARGINS.items():
                fixed[name] = torch.cat([margin(V.mT @ V, labels) for V in some])
            noise = top_norm(self.X - self.clean_X)
            fixed["delta_1"], self.noise_error = link_terms(
                self.clean.s, self.data.s, noise, self.rank, self.clean.unit, None
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

        def look(part: Tensor) -> list[dict[str, Tensor]]:
            own = {name: p[part].double() for name, p in params.items()}
            with torch.no_grad():  # a mode of the thread
                return self._trials(network, own, part, certify)

        parts = self._parts(finite.nonzero()[:, 0])
        for part, layers in zip(parts, _side_by_side(look, parts), strict=True):
            for i, values in enumerate(layers):
                for name, value in values.items():
                    found[name][i, part.cpu().numpy()] = value.double().cpu().numpy()
        return tuple(layer.name for layer in seen), found

    def _parts(self, usable: Tensor) -> list[Tensor]:
        """Trials that are measured together: few enough for the memory, and for every core some."""
        most = min(CPU_TRIALS, -(-len(usable) // torch.get_num_threads()))
        if self.X.is_cuda:
            most = CUDA_BYTES // (64 * self.X.shape[-1] ** 2)
        return list(usable.split(max(1, most))) if len(usable) else []

    def _trials(
        self, network: Network, params: Params, part: Tensor, certify: bool
    ) -> list[dict[str, Tensor]]:
        """All diagnostics of some trials, layer by layer."""
        X, clean = (A if len(A) == 1 else A[part] for A in (self.X, self.clean_X))
        stars, data = self.clean.part(part), self.data.part(part)  # of X* and X
        layers = network.layers(params, X.expand(len(part), -1, -1))
        if self.groups == ("activation",):  # needs no row space
            return [_activation(layer) for layer in layers]
        posts = [self._space(layer.post, 4 * self.rank) for layer in layers]
        results = []
        for layer, post in zip(layers, posts, strict=True):
            before = data if layer.previous is None else posts[layer.previous]
            pre = None
            if layer.pre is not None and "distances" in self.groups:
                pre = self._space(layer.pre, self.rank)
            values = {name: _of(value, part) for name, value in self.fixed.items()}
            if "distances" in self.groups:
                values |= self._distances(stars, data, before, pre, post)
            if "containment" in self.groups:
                values |= self._containment(stars, post)
            if "activation" in self.groups:
                values |= _activation(layer)
            if "chain" in self.groups and layer.weight is not None:
                known = values.get("change_spectral") if layer.bias is None else None
                source = (clean, stars, data)
                if layer.previous is not None:  # A* is the truncation of A
                    source = (layers[layer.previous].post, before, before)
                values |= self._links(layer, *source, pre, post, part, known)
            for suffix, R in self.references.items():
                values |= self._reference(suffix, R, layer.post, post, part, certify)
            if "spectral" in self.groups and certify:
                for name, q in (("spectral_acc", self.rank), ("spectral_acc_r1", self.rank + 1)):
                    found = spectral_clusters(post.V[:, :q], self.n_clusters)
                    values[name] = batched_scores(self.labels, found, self.n_clusters)["acc"]
            results.append(values)
        if "clusters" in self.groups:  # all layers in one go: Prim's steps are many and tiny
            V = torch.cat([post.V[:, : self.rank] for post in posts])
            linked = linkage_clusters(V, self.n_clusters)
            for name, value in batched_scores(self.labels, linked, self.n_clusters).items():
                for values, own in zip(results, value.split(len(part)), strict=True):
                    values[name] = own
        return results

    def _distances(
        self, star: RowSpace, data: RowSpace, before: RowSpace, pre: RowSpace | None, post: RowSpace
    ) -> dict[str, Tensor]:
        V, previous = post.V[..., : self.rank, :], before.V[..., : self.rank, :]
        pairs = {"clean_to_post": (star.V, V), "data_to_post": (data.V, V)}
        if pre is not None:
            pairs |= {"clean_to_pre": (star.V, pre.V), "previous_to_pre": (previous, pre.V)}
        if before is not data:
            pairs["previous_to_post"] = (previous, V)
        found = {pair: distances(*bases) for pair, bases in pairs.items()}
        found.setdefault("previous_to_post", found["data_to_post"])
        return {f"{p}_{norm}": v for p, values in found.items() for norm, v in values.items()}

    def _containment(self, clean: RowSpace, post: RowSpace) -> dict[str, Tensor]:
        r = self.rank
        cosines = (clean.V @ post.V.mT).square().sum(-2)  # (c, 4r): weight on each direction
        values = {"share_r": cosines[..., :r].sum(-1) / r, "rank": post.rank}
        for name, q in zip(LARGER, (r + 1, 2 * r, 4 * r), strict=True):
            values[f"share_{name}"] = cosines[..., :q].sum(-1) / r
            values[f"sine_{name}"] = largest_sine(clean.V, post.V[..., :q, :])
        return values

    def _links(
        self,
        layer: Layer,
        starred: Tensor,
        star: RowSpace,
        before: RowSpace,
        pre: RowSpace | None,
        post: RowSpace,
        part: Tensor,
        change: Tensor | None,
    ) -> dict[str, Tensor]:
        """The chain across one layer: P_r(A*) = P_r(WA*) → P_r(WA) → P_r(Y).

        A* = P_r of ``starred``, with the row space ``star``; before: of A. change: ‖Y − WA‖ where
        it is known already.
        """
        r, W, V = self.rank, layer.weight, star.V[..., : self.rank, :]
        assert W is not None
        assert layer.pre is not None
        WA = layer.pre if layer.bias is None else layer.pre - layer.bias[..., None]
        image = W @ (starred @ V.mT)  # (c, p, r), and W A* = image V
        s_image = singular_values(image)
        s_through = pre.s if pre is not None and layer.bias is None else singular_values(WA)
        unit = rounding_unit(max(*WA.shape[-2:], W.shape[-1]), self.eps)
        scale = top_norm(W) * before.s[..., 0]
        gap_2, error_2 = link_terms(s_image, s_through, top_norm(WA - image @ V), r, unit, scale)
        change = top_norm(layer.post - WA) if change is None else change
        gap_3, error_3 = link_terms(post.s, s_through, change, r, unit, scale)
        bound = divide(error_2, gap_2) + divide(error_3, gap_3)
        values = {"delta_2": gap_2, "delta_3": gap_3, "two_links_bound": bound}
        values |= {"activation_error": error_3, "image_norm": s_through[..., 0]}
        least, weakest = (_of(self.fixed[name], part) for name in MARGINS)
        values["two_links_holds"] = bound < weakest / 2
        if layer.previous is None:
            gaps = torch.stack([_of(self.fixed["delta_1"], part), gap_2, gap_3])
            errors = torch.stack([_of(self.noise_error, part), error_2, error_3])
            cert = chain_verdict(gaps, errors, r, least, "printed")
            values |= {"printed_ratio": cert.gap / cert.threshold, "printed_holds": cert.holds}
            values["links_holds"] = chain_verdict(gaps, errors, r, weakest, "links").holds
        return values

    def _reference(
        self, suffix: str, R: Tensor, Y: Tensor, post: RowSpace, part: Tensor, certify: bool
    ) -> dict[str, Tensor]:
        """Bound, certificate and what they bound, with R = row(X*) or one row more: 1ᵀ, profile."""
        own = suffix == "_profile"  # a group of its own, expensive as a whole
        bounds = ("profile" if own else "reference") in self.groups and (certify or not own)
        shares = ("profile" if own else "certified") in self.groups and certify
        if not bounds and not shares:
            return {}
        R, k = R if len(R) == 1 else R[part], R.shape[-2]
        found = compare(Y, R, k, post.s)
        bound = found.sine
        values = {f"reference_bound{suffix}": bound} if bounds else {}
        if shares:
            share = values[f"certified_share{suffix}"] = torch.zeros_like(bound)
            for i in (bound < INF).nonzero()[:, 0].tolist():  # no need to look elsewhere
                share[i] = certified_share(found[i], self.labels)
        if bounds and suffix:
            moved = distances(R, post.V[..., :k, :], ("spectral",) if own else NORMS)
            values |= {f"{suffix[1:]}_to_post_{norm}": value for norm, value in moved.items()}
        return values


def _side_by_side(
    look: Callable[[Tensor], list[dict[str, Tensor]]], parts: list[Tensor]
) -> list[list[dict[str, Tensor]]]:
    """look(part) for every part, one per core: each batch of small factorisations uses only one."""
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
