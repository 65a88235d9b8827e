"""Hostile calls of the library: every answer is right, every refusal is ours.

A call takes a good case and spoils it in one way. An argument that only *looks* odd (another byte
order, read-only memory, a gradient, a unit of 1e300, single precision, a default device without
memory) must not change the answer; a bad one must be refused by a TypeError or ValueError that the
library raises and that names the argument. What is neither is counted:

    python tests/fuzz.py 10000 --seed 0
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import dataclasses
import datetime
import inspect
import resource
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch

import subspace_lib as sl

N, RANK, SIZES = 24, 4, (8, 8, 8)
LIBRARY = str(Path(sl.__file__).parent)
PATIENCE, MEMORY = 20, 12 * 2**30  # seconds and bytes: more is a fault
LABELS = np.repeat(np.arange(3), SIZES)
Values = list[tuple[Any, float]]  # numbers, and the power of the unit that they carry


@dataclasses.dataclass(frozen=True)
class Case:
    """A good call. kinds: what each argument is; unit: those that carry the unit of the data."""

    call: Callable[..., Any]
    given: Callable[[np.random.Generator], dict[str, Any]]
    kinds: dict[str, str]
    unit: tuple[str, ...] = ()
    degree: float = 0  # of the answer in that unit


def numbers(found: Any, degree: float) -> Values:
    """What an answer says, for comparison."""
    if isinstance(found, sl.certificate.Certificate):
        rest = (getattr(found, name, None) for name in ("certified", "used"))
        own = 0 if hasattr(found, "used") else 1  # there the gap is an entry of a projector
        return [
            (found.gap, own),
            (found.threshold, own),
            *((v, 0) for v in (found.bound, *rest) if v is not None),
        ]
    if isinstance(found, sl.certify.MustLinks):
        links = found.links if isinstance(found.links, np.ndarray) else np.asarray(found.links)
        return [(links, 0), (found.components, 0), *((d, 1) for d in found.deviation or ())]
    if isinstance(found, sl.certify.LayerReading):
        return [(found.inside, 0), (found.across, 0), (found.found, 0), (found.holds, 0)]
    if isinstance(found, sl.data.UnionOfSubspaces):
        return [(found.X, degree), (found.clean, degree), (found.labels, 0)]
    if isinstance(found, dict):
        return [pair for key in found for pair in numbers(found[key], degree)]
    if isinstance(found, (tuple, list)):
        return [pair for part in found for pair in numbers(part, degree)]
    if isinstance(found, str) or found is None:
        return [(0 if found is None else sum(found.encode()), 0)]
    return [(found, degree)]


def plain(value: Any) -> np.ndarray:
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    return array.astype(np.float64)


def agree(found: Values, wanted: Values, exponent: float, tolerance: float) -> bool:
    """Equal up to rounding, in a unit of 2^exponent."""
    if len(found) != len(wanted):
        return False
    for (a, degree), (b, _) in zip(found, wanted, strict=True):
        with np.errstate(all="ignore"):
            half = -degree * exponent / 2
            a = plain(a) * 2.0**half * 2.0**half
        b = plain(b)
        if a.shape != b.shape:
            return False
        finite = np.isfinite(b)
        size = np.abs(b[finite]).max(initial=0)
        if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
            return False
        if not np.allclose(a[finite], b[finite], rtol=tolerance, atol=tolerance * size):
            return False
    return True


# -- good calls ------------------------------------------------------------------------------------


@cache
def union(seed: int = 0) -> tuple[Any, Any]:
    data = sl.sample_union(
        ambient_dim=12, n_subspaces=3, subspace_dim=2, points_per_subspace=8, seed=seed
    )
    return data, sl.add_noise(data, variance=1e-3, seed=seed + 1)


def matrices(*names: str, **more: Any) -> Callable[[np.random.Generator], dict[str, Any]]:
    """Clean, noisy and random matrices of one union, by the names of the arguments."""

    def make(g: np.random.Generator) -> dict[str, Any]:
        data, noisy = union(int(g.integers(4)))
        V = torch.linalg.svd(data.X)[2][:6]
        W = torch.from_numpy(g.standard_normal((10, 12)) / 12**0.5)
        pool = {
            "clean": data.X,
            "noise": 1e-2 * noisy.noise,
            "noisy": noisy.X,
            "P": V.mT @ V,
            "R": V,
            "W": W,
            "Y": W @ (data.X + 1e-2 * noisy.noise) + 1e-4,
            "WX": W @ data.X,
            "labels": LABELS.copy(),
            "data": noisy,
        }
        return {name: copy.deepcopy(pool[name]) for name in names} | more

    return make


def renamed(make: Callable[..., dict[str, Any]], **names: str) -> Callable[..., dict[str, Any]]:
    """Argument ← entry of the pool."""

    def given(g: np.random.Generator) -> dict[str, Any]:
        found = make(g)
        return {names.get(key, key): value for key, value in found.items()}

    return given


def pair(**more: Any) -> Callable[..., dict[str, Any]]:
    return renamed(matrices("clean", "noisy", **more), clean="A", noisy="B")


def projector(rows: Any) -> Any:
    """Bases are determined up to a rotation."""
    return rows.swapaxes(-1, -2) @ rows


def probed(reference: Any, rank: Any, labels: Any, larger_ranks: Any) -> Any:
    model = torch.nn.Sequential(
        torch.nn.Linear(12, 9, bias=False, dtype=torch.float64, device="cpu")
    )
    with torch.no_grad():
        model[0].weight.copy_(torch.from_numpy(np.sin(np.arange(108.0))).view(9, 12))
    probe = sl.LayerProbe(
        model, rank=rank, reference=reference, labels=labels, larger_ranks=larger_ranks
    )
    with probe:
        model(union()[1].X.mT)
    row = probe.table()[0]
    return [row.get(k) for k in ("distance_fro", "bound", "share_6", "s_1", "acc")]


def layered(layers: Any, reduce: Any, exact: Any, seed: Any, rank: Any) -> Any:
    model = torch.nn.Sequential(torch.nn.Identity())
    data = union()[0]
    probe = sl.LayerProbe(
        model, layers, rank=rank, reference=data.X, reduce=reduce, exact=exact, seed=seed
    )
    with probe:
        model(data.X.mT)
    return [row["distance_fro"] for row in probe.table()]


def diagnosed(data: Any, groups: Any) -> Any:
    built = sl.FeedForward((12, 8, 12))
    return sl.diagnostics.diagnose(built, built.init(seed=0), data, groups=groups)[1]


def architecture(kind: Any, **sizes: Any) -> Any:
    built = kind(**sizes)
    X = torch.from_numpy(np.sin(np.arange(16 * 5.0)).reshape(16, 5))
    return built.output(built.init(seed=0, dtype=torch.float64), X)


def architectures() -> dict[str, Case]:
    fields = {
        sl.networks.Convolutional: {"inputs": 16, "outputs": 3, "channels": (2, 3), "kernel": 3},
        sl.networks.Recurrent: {"inputs": 16, "hidden": 4, "outputs": 3, "steps": 4, "depth": 1},
        sl.networks.Transformer: {"inputs": 16, "outputs": 3, "tokens": 4, "width": 4, "heads": 2},
    }
    found = {}
    for kind, sizes in fields.items():
        kinds = {k: "sizes" if k == "channels" else "rank" for k in sizes} | {"readout": "choice"}
        readout = {"readout": "last" if "steps" in sizes else "pooled"}
        given = partial(lambda sizes, g: dict(sizes), sizes | readout)
        found[kind.__name__] = Case(partial(architecture, kind), given, kinds)
    return found


def trained(
    data: Any, objective: Any, optimizer: Any, lr: Any, steps: Any, checkpoints: Any
) -> Any:
    network = sl.FeedForward((12, 8, 12))
    run = sl.train(
        network,
        data,
        objective=objective,
        optimizer=optimizer,
        lr=lr,
        steps=steps,
        checkpoints=checkpoints,
        dtype=torch.float64,
        measure=sl.diagnostics.Diagnostics(data, groups=["distances", "chain", "clusters"]),
    )
    return [run.loss, run["clean_to_post_fro"], run["acc"], run["delta_1"]]


def initial(scheme: Any, trials: Any, seed: Any, dtype: Any) -> Any:
    network = sl.FeedForward((12, 8, 3))
    return network.init(scheme, trials=trials, seed=seed, dtype=dtype)


def network(widths: Any, activation: Any) -> Any:
    built = sl.FeedForward(widths, activation)
    return built.output(built.init(seed=0), union()[0].X.float())


def cases() -> dict[str, Case]:
    m, r, s, c, y, d = "matrix", "rank", "number", "choice", "labels", "data"
    two = {"A": m, "B": m, "rank": r}
    P, E = sl.projectors, sl.entrywise
    chain = {"clean": m, "noise": m, "W": m, "Y": m, "rank": r, "margin": s}
    one = renamed(matrices("noisy", rank=6), noisy="A")
    observed = renamed(matrices("noisy", rank=6, n_clusters=3), noisy="Y")

    def sub(*names: str) -> dict[str, str]:
        return {name: chain[name] for name in names}

    def deep(clean: Any, noise: Any, W: Any, Y: Any, rank: Any, margin: Any) -> Any:
        return sl.bounds.depth_corollary(clean, noise, [(W, Y)], rank, margin)

    return architectures() | {
        "layered": Case(
            layered,
            lambda g: {"layers": ["0"], "reduce": "mean", "exact": None, "seed": 0, "rank": 6},
            {"layers": "names", "reduce": c, "seed": "seed", "rank": r},
        ),
        "diagnose": Case(
            diagnosed,
            matrices("data", groups=["distances", "certified"]),
            {"data": d, "groups": "names"},
        ),
        "stack": Case(
            sl.data.stack,
            lambda g: {"parts": [union()[1]]},
            {"parts": "parts"},
        ),
        "bases": Case(
            lambda bases: sl.sample_union(
                ambient_dim=12, subspace_dim=[2, 2], points_per_subspace=8, bases=bases, seed=0
            ),
            lambda g: {"bases": torch.linalg.qr(torch.from_numpy(g.standard_normal((12, 4))))[0]},
            {"bases": "alone"},
        ),
        "must_links_source": Case(
            sl.must_links,
            renamed(matrices("noisy", "clean", rank=6), noisy="Y", clean="source"),
            {"source": "alone", "Y": m},
        ),
        "must_links_pair": Case(
            lambda Y, noise: sl.must_links(Y, 6, noise=(0.0, noise)),
            renamed(matrices("noisy", noise=0.01), noisy="Y"),
            {"Y": m, "noise": s},
            ("Y", "noise"),
        ),
        "row_basis": Case(
            lambda A, rank: projector(sl.row_basis(A, rank)), one, {"A": m, "rank": r}, ("A",)
        ),
        "row_projector": Case(sl.row_projector, one, {"A": m, "rank": r}, ("A",)),
        "numerical_rank": Case(
            P.numerical_rank, renamed(matrices("clean"), clean="A"), {"A": m}, ("A",)
        ),
        "sin_theta": Case(P.sin_theta, pair(rank=6), two, ("A",)),
        "principal_angles": Case(sl.principal_angles, pair(rank=6), two, ("B",)),
        "projection_distance": Case(
            sl.projection_distance, pair(rank=6, norm="fro"), {**two, "norm": c}, ("A",)
        ),
        "containment_distance": Case(
            P.containment_distance, pair(rank=6, larger_rank=8), {**two, "larger_rank": r}, ("B",)
        ),
        "spectral_gap": Case(sl.bounds.spectral_gap, pair(rank=6), two, ("A", "B"), 1),
        "wedin_bound": Case(
            sl.wedin_bound, pair(rank=6, form="one-sided"), {**two, "form": c}, ("A", "B"), 1
        ),
        "lemma_4_1": Case(
            sl.bounds.lemma_4_1,
            matrices("clean", "noise", rank=6, margin=0.1),
            sub("clean", "noise", "rank", "margin"),
            ("clean", "noise"),
        ),
        "lemma_4_2": Case(
            sl.bounds.lemma_4_2,
            matrices("clean", "noise", "W", rank=6, margin=0.1),
            sub("clean", "noise", "W", "rank", "margin"),
            ("clean", "noise"),
        ),
        "lemma_4_3": Case(
            sl.bounds.lemma_4_3,
            matrices("WX", "Y", rank=6, margin=0.1),
            {"WX": m, "Y": m, "rank": r, "margin": s},
            ("WX", "Y"),
        ),
        "theorem_3_1": Case(
            sl.bounds.theorem_3_1,
            matrices("clean", "noise", "W", "Y", rank=6, margin=0.1, form="links"),
            {**chain, "form": c},
            ("clean", "noise", "Y"),
        ),
        "depth_corollary": Case(
            deep,
            matrices("clean", "noise", "W", "Y", rank=6, margin=0.1),
            chain,
            ("clean", "noise", "Y"),
        ),
        "reference_bound": Case(
            sl.reference_bound,
            matrices("Y", "R", q=7, norm="fro"),
            {"Y": m, "R": "rows", "q": r, "norm": c},
            ("Y",),
        ),
        "direction_bounds": Case(
            sl.reference.direction_bounds,
            matrices("Y", "R", q=6),
            {"Y": m, "R": "rows", "q": r},
            ("Y",),
        ),
        "affine_reference": Case(
            lambda clean, rank: projector(sl.reference.affine_reference(clean, rank)),
            matrices("clean", rank=6),
            {"clean": m, "rank": r},
            ("clean",),
        ),
        "label_reference": Case(
            lambda X, labels, ranks: projector(sl.reference.label_reference(X, labels, ranks)),
            renamed(matrices("noisy", "labels", ranks=2), noisy="X"),
            {"X": m, "labels": y, "ranks": r},
            ("X",),
        ),
        "entrywise_bound": Case(
            E.entrywise_bound, matrices("Y", "R"), {"Y": m, "R": "rows"}, ("Y",)
        ),
        "certify_clusters": Case(
            sl.certify_clusters,
            renamed(matrices("noisy", "R", "labels"), noisy="Y"),
            {"Y": m, "R": "rows", "labels": y},
            ("Y",),
        ),
        "entrywise_margin": Case(
            E.entrywise_margin, matrices("P", "labels"), {"P": m, "labels": y}, ("P",), 1
        ),
        "minimum_margin": Case(
            sl.clustering.minimum_margin, matrices("P", "labels"), {"P": m, "labels": y}
        ),
        "connectivity_margin": Case(
            sl.connectivity_margin, matrices("P", "labels"), {"P": m, "labels": y}, ("P",), 1
        ),
        "single_linkage": Case(
            sl.clustering.single_linkage,
            renamed(matrices("P", n_clusters=3), P="Q"),
            {"Q": m, "n_clusters": r},
            ("Q",),
        ),
        "cluster_by_threshold": Case(
            sl.clustering.cluster_by_threshold,
            renamed(matrices("P", threshold=0.05), P="Q"),
            {"Q": m, "threshold": s},
            ("Q", "threshold"),
        ),
        "clustering_scores": Case(
            sl.clustering.clustering_scores,
            lambda g: {"true": LABELS.copy(), "found": g.permutation(LABELS)},
            {"true": y, "found": y},
        ),
        "accuracy": Case(
            sl.clustering.accuracy,
            lambda g: {"true": LABELS.copy(), "found": g.permutation(LABELS)},
            {"true": y, "found": y},
        ),
        "add_noise": Case(
            sl.add_noise,
            matrices("data", variance=0.1, convention="relative", seed=3),
            {"data": d, "variance": s, "convention": c, "seed": "seed"},
        ),
        "scaled": Case(
            lambda data, factor: data.scaled(factor),
            matrices("data", factor=2.0),
            {"factor": s},
        ),
        "sample_union": Case(
            sl.sample_union,
            lambda g: {
                "ambient_dim": 12,
                "n_subspaces": 3,
                "subspace_dim": 2,
                "points_per_subspace": 8,
                "trials": 2,
                "seed": 0,
                "dtype": torch.float64,
            },
            {
                "ambient_dim": r,
                "n_subspaces": r,
                "subspace_dim": "size",
                "points_per_subspace": "size",
                "trials": "trials",
                "seed": "seed",
                "dtype": "dtype",
            },
        ),
        "from_matrix": Case(
            sl.from_matrix,
            renamed(matrices("noisy", "labels", rank=6), noisy="X"),
            {"X": m, "labels": y, "rank": r},
            ("X",),
            1,
        ),
        "must_links": Case(
            sl.must_links,
            observed,
            {"Y": m, "rank": r, "n_clusters": r},
            ("Y",),
        ),
        "must_links_noise": Case(
            sl.must_links,
            renamed(
                matrices("noisy", rank=6, noise=0.005, level=0.05, splits=2, seed=0), noisy="Y"
            ),
            {"Y": m, "rank": r, "noise": s, "level": s, "splits": r, "seed": "seed"},
            ("Y", "noise"),
        ),
        "must_links_radius": Case(
            sl.must_links,
            renamed(matrices("noisy", rank=6, radius=0.05), noisy="Y"),
            {"Y": m, "rank": r, "radius": s},
            ("Y", "radius"),
        ),
        "certified_labels": Case(
            sl.certify.certified_labels,
            renamed(observed, Y="X"),
            {"X": m, "rank": r, "n_clusters": r},
            ("X",),
        ),
        "read_layer": Case(
            sl.certify.read_layer,
            renamed(matrices("noisy", "labels", rank=6, n_clusters=3), noisy="Y"),
            {"Y": m, "labels": y, "rank": r, "n_clusters": r},
            ("Y",),
        ),
        "whiten": Case(sl.certify.whiten, matrices("Y", "W"), {"Y": m, "W": m}, ("Y",), 1),
        "estimator": Case(
            lambda X, n_clusters, rank: sl.ProjectorClustering(
                n_clusters, rank, random_state=0
            ).fit_predict(X),
            lambda g: {"X": union()[1].X.mT.numpy().copy(), "n_clusters": 3, "rank": 6},
            {"n_clusters": r, "rank": r},
            ("X",),
        ),
        "probe": Case(
            probed,
            renamed(matrices("clean", "labels", rank=6, larger_ranks=[12]), clean="reference"),
            {"reference": m, "rank": r, "labels": y, "larger_ranks": "sizes"},
            ("reference",),
        ),
        "train": Case(
            trained,
            matrices(
                "data", objective="reconstruct", optimizer="adam", lr=0.01, steps=5, checkpoints=3
            ),
            {
                "data": d,
                "objective": c,
                "optimizer": c,
                "lr": s,
                "steps": r,
                "checkpoints": "steps",
            },
        ),
        "init": Case(
            initial,
            lambda g: {"scheme": "orthogonal", "trials": 2, "seed": 0, "dtype": torch.float32},
            {"scheme": c, "trials": "trials", "seed": "seed", "dtype": "dtype"},
        ),
        "network": Case(
            network,
            lambda g: {"widths": (12, 8, 3), "activation": "relu"},
            {"widths": "sizes", "activation": c},
        ),
    }


# -- what is done to an argument -------------------------------------------------------------------

JUNK: dict[str, Callable[[Any], Any]] = {
    "none": lambda v: None,
    "text": lambda v: "seven",
    "object": lambda v: object(),
    "set": lambda v: {1, 2},
    "dict": lambda v: {"a": 1},
    "date": lambda v: datetime.date(2020, 1, 1),
    "complex": lambda v: 1j,
    "function": lambda v: len,
    "several": lambda v: np.array([1.0, 2.0, 3.0]),
    "several tensor": lambda v: torch.ones(3, device="cpu"),
    "text array": lambda v: np.array(["a", "b"]),
    "meta": lambda v: torch.ones(2, device="meta"),
}
NUMBER = {
    "nan": lambda v: float("nan"),
    "infinite": lambda v: float("inf"),
    "minus": lambda v: -1.0,
}
WHOLE = {
    "zero": lambda v: 0,
    "negative": lambda v: -3,
    "half": lambda v: 2.5,
    "whole float": lambda v: 2.0,
    "true": lambda v: True,
    "nan": lambda v: float("nan"),
}
HUGE = {"huge": lambda v: 10**12, "astronomic": lambda v: 10**30}


def holed(A: torch.Tensor, value: float) -> torch.Tensor:
    B = A.clone()
    B[..., 1, 2] = value
    return B


def quantized(A: torch.Tensor) -> torch.Tensor:
    return torch.quantize_per_tensor(A.float(), 0.1, 0, torch.qint8)


MATRIX: dict[str, Callable[[torch.Tensor], Any]] = {
    "none": lambda A: None,
    "number": lambda A: 3.0,
    "text": lambda A: "seven",
    "list": lambda A: A.tolist(),
    "dict": lambda A: {"a": A},
    "text array": lambda A: A.numpy().astype(str),
    "dates": lambda A: np.full(A.shape, np.datetime64("2020-01-01")),
    "objects": lambda A: A.numpy().astype(object),
    "integers": lambda A: A.long(),
    "booleans": lambda A: A.numpy() > 0,
    "complex": lambda A: A.numpy() + 0j,
    "complex tensor": lambda A: A.to(torch.complex128),
    "half": lambda A: A.half(),
    "bfloat": lambda A: A.bfloat16(),
    "longdouble": lambda A: A.numpy().astype(np.longdouble),
    "structured": lambda A: np.zeros(A.shape, dtype=[("a", float)]),
    "masked": lambda A: np.ma.masked_less(A.numpy(), 0),
    "sparse": lambda A: A.to_sparse(),
    "csr": lambda A: A.to_sparse_csr(),
    "scipy": lambda A: scipy.sparse.csr_matrix(A.numpy()),
    "meta": lambda A: A.to("meta"),
    "nested": lambda A: torch.nested.nested_tensor([A, A[1:]]),
    "quantized": quantized,
    "nan": lambda A: holed(A, float("nan")),
    "infinite": lambda A: holed(A, float("inf")),
    "vector": lambda A: A[0],
    "scalar": lambda A: A[0, 0],
    "no rows": lambda A: A[:0],
    "no columns": lambda A: A[:, :0],
}
ROWS = {"not orthonormal": lambda A: 2 * A, "skew": lambda A: A + 0.1}


def listed(spoil: Callable[[Any], Any], value: Any) -> list[Any]:
    return [*value[:-1], spoil(value[-1])]


MISSING = np.array([None, *LABELS[1:]], dtype=object)
LABEL: dict[str, Callable[[Any], Any]] = {
    "none": lambda y: None,
    "number": lambda y: 3,
    "text": lambda y: "seven",
    "object": lambda y: object(),
    "dict": lambda y: {"a": 1},
    "short": lambda y: y[:-1],
    "long": lambda y: [*y, 0],
    "empty": lambda y: y[:0],
    "table": lambda y: y[None],
    "ragged": lambda y: [[0], [1, 2]],
    "missing": lambda y: MISSING,
    "missing text": lambda y: ["a", None, *"b" * 22],
    "mixed": lambda y: np.array(["a", 1, *"b" * 22], dtype=object),
    "nan": lambda y: np.where(y == 1, np.nan, y),
    "no time": lambda y: np.where(y == 1, np.datetime64("NaT"), np.datetime64("2020-01-01")),
    "meta": lambda y: torch.from_numpy(y).to("meta"),
    "sparse": lambda y: torch.from_numpy(y).to_sparse(),
    "objects": lambda y: np.array([object() for _ in y]),
    "lists": lambda y: [[i] for i in y],
}
SPOILED: dict[str, dict[str, Callable[[Any], Any]]] = {
    "matrix": MATRIX,
    "rows": {**MATRIX, **ROWS},
    "labels": LABEL,
    "number": {**JUNK, **NUMBER},
    "rank": {**JUNK, **WHOLE, **HUGE},
    "size": {**JUNK, **WHOLE, **HUGE, "wrong length": lambda v: [1, 2]},
    "sizes": {**JUNK, **{f"one {k}": partial(listed, f) for k, f in {**WHOLE, **HUGE}.items()}},
    "steps": {**JUNK, **WHOLE, **HUGE, "beyond": lambda v: [0, 99], "none": lambda v: []},
    "seed": {**JUNK, "negative": lambda v: -1, "half": lambda v: 0.5},
    "trials": {k: f for k, f in {**JUNK, **WHOLE, **HUGE}.items() if k != "none"}
    | {"no trials": lambda v: [], "negative index": lambda v: [-1]},
    "choice": {**JUNK, "unknown": lambda v: "other", "list": lambda v: [v], "number": lambda v: 1},
    "names": {**JUNK, "unknown": lambda v: ["other"], "numbers": lambda v: [1, 2]},
    "parts": {**JUNK, "numbers": lambda v: [1, 2], "nothing": lambda v: []},
    "alone": {k: f for k, f in MATRIX.items() if k != "none"},
    "dtype": {**JUNK, "half": lambda v: torch.float16, "long": lambda v: torch.int64},
    "data": {**JUNK, "array": lambda v: v.X.numpy(), "matrix": lambda v: v.X},
}

# -- what must not matter --------------------------------------------------------------------------


def reversed_strides(A: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(A[::-1, ::-1])[::-1, ::-1]


def locked(A: np.ndarray) -> np.ndarray:
    B = A.copy()
    B.flags.writeable = False
    return B


def lone_stride(A: np.ndarray) -> np.ndarray:
    """A negative stride on an axis of length 1."""
    return np.lib.stride_tricks.as_strided(A, (1, *A.shape), (-8, *A.strides))[0]


SAME_MATRIX: dict[str, Callable[[torch.Tensor], Any]] = {
    "array": lambda A: A.numpy(),
    "big endian": lambda A: A.numpy().astype(">f8"),
    "read-only": lambda A: locked(A.numpy()),
    "Fortran": lambda A: np.asfortranarray(A.numpy()),
    "reversed": lambda A: reversed_strides(A.numpy()),
    "lone stride": lambda A: lone_stride(A.numpy()),
    "gradient": lambda A: A.clone().requires_grad_(),
    "graph": lambda A: A.clone().requires_grad_() * 1,
    "parameter": lambda A: torch.nn.Parameter(A.clone()),
    "strided": lambda A: A.mT.contiguous().mT,
    "inference": lambda A: inferred(A),
    "every other": lambda A: torch.stack([A, A], -1).flatten(-2)[..., ::2],
}
SAME = {
    "matrix": SAME_MATRIX,
    "rows": SAME_MATRIX,
    "alone": SAME_MATRIX,
    "labels": {
        "list": lambda y: y.tolist(),
        "tensor": torch.from_numpy,
        "floats": lambda y: y.astype(float),
        "half": lambda y: torch.from_numpy(y).bfloat16(),
        "text": lambda y: np.array(list("abc"))[y],
        "objects": lambda y: np.array(list("abc"), dtype=object)[y],
        "big endian": lambda y: y.astype(">i4"),
        "gradient": lambda y: torch.from_numpy(y).double().requires_grad_(),
        "bytes": lambda y: y.astype(np.uint8),
    },
    "number": {
        "array": np.array,
        "numpy": np.float64,
        "tensor": lambda v: torch.tensor(v, dtype=torch.float64, device="cpu"),
    },
    "rank": {"numpy": np.int64, "short": np.int16, "unsigned": np.uint8},
    "seed": {"numpy": np.int64},
    "trials": {"numpy": np.int64, "list": lambda v: list(range(v)), "range": range},
    "sizes": {"list": list, "array": np.array},
    "size": {"list": lambda v: [v] * 3, "numpy": np.int64},
    "steps": {"numpy": np.int64},
}


def inferred(A: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return A.clone()


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


ENVIRONMENTS: dict[str, Callable[[], Any]] = {
    "default device": lambda: torch.device("meta"),
    "default dtype": lambda: default_dtype(torch.float64),
    "default half": lambda: default_dtype(torch.float16),
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
}
UNITS = (-990, -620, -520, -300, -40, 40, 300, 520, 620, 990)  # powers of two: 1e-298 to 1e298


def times(value: Any, exponent: int) -> Any:
    half = 2.0 ** (exponent // 2)
    return value * half * 2.0 ** (exponent - exponent // 2)


# -- one call --------------------------------------------------------------------------------------


class Hangs(Exception):
    """A call that took longer than PATIENCE seconds."""


def _hangs(*_: Any) -> None:
    raise Hangs


def quietly(case: Case, given: dict[str, Any]) -> Any:
    """The answer; a warning of torch or NumPy is a foreign voice, an exception."""
    signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(PATIENCE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return case.call(**given)
    finally:
        signal.alarm(0)


def ours(error: Exception, argument: str) -> bool:
    """Raised by the library as a TypeError or ValueError that names the argument."""
    frames = traceback.extract_tb(error.__traceback__)
    kind = type(error) in (TypeError, ValueError)
    return kind and frames[-1].filename.startswith(LIBRARY) and argument in str(error)


def refused(case: Case, given: dict[str, Any], argument: str) -> str:
    """ "" where the bad argument is refused as it should be."""
    try:
        found = quietly(case, given)
    except Exception as error:
        line = f"{type(error).__name__}: {str(error).splitlines()[0][:150] if str(error) else ''}"
        return "" if ours(error, argument) else f"foreign  {line}"
    return f"accepted  {type(found).__name__}"


def unchanged(
    case: Case,
    good: dict[str, Any],
    given: dict[str, Any],
    exponent: int,
    tolerance: float,
    where: Any,
) -> str:
    """ "" where the answer is the one of the good call."""
    wanted = numbers(case.call(**good), case.degree)
    try:
        with where:
            found = numbers(quietly(case, given), case.degree)
    except Exception as error:
        return f"foreign  {type(error).__name__}: {str(error)[:150]}"
    return "" if agree(found, wanted, exponent, tolerance) else "wrong  another answer"


Call = tuple[str, str, str]  # case, argument, what is done


def calls() -> list[Call]:
    """Every way of spoiling every argument of every case."""
    found: list[Call] = []
    for name, case in cases().items():
        for argument, kind in case.kinds.items():
            found += [(name, argument, f"bad {how}") for how in SPOILED.get(kind, {})]
            found += [(name, argument, f"same {how}") for how in SAME.get(kind, {})]
            if kind in ("matrix", "rows"):
                found.append((name, argument, "single"))
        found += [(name, "", f"in {where}") for where in ENVIRONMENTS]
        found += [(name, "", f"unit {e}") for e in UNITS if case.unit]
        shaped = [a for a, kind in case.kinds.items() if kind in ("matrix", "rows")]
        found += [(name, "", "all arrays")] if shaped else []
        if len(shaped) > 1:
            found += [(name, a, "odd batches") for a in shaped]
            found += [(name, a, "odd points") for a in shaped if a != "W" and name != "whiten"]
    return found


def attempt(call: Call, g: np.random.Generator) -> str:
    """ "" or what is wrong with the call."""
    name, argument, what = call
    case = cases()[name]
    good = case.given(g)
    given, kind = dict(good), case.kinds.get(argument, "")
    how, _, which = what.partition(" ")
    if how == "bad":
        if (value := excused(call, good)) is not None:
            return value
        given[argument] = SPOILED[kind][which](good[argument])
        return refused(case, given, argument)
    if how == "odd":  # two arguments that do not fit: either may be named
        A = good[argument]
        given[argument] = A[:, :-1] if which == "points" else A.expand(5, *A.shape)
        others = [a for a, k in case.kinds.items() if k in ("matrix", "rows") and a != argument]
        if which == "batches":
            given[others[0]] = good[others[0]].expand(2, *good[others[0]].shape)
        problems = [refused(case, given, a) for a in (argument, *others)]
        return "" if "" in problems else problems[0]
    exponent, tolerance, where = 0, 1e-9, contextlib.nullcontext()
    if how == "same":
        given[argument] = SAME[kind][which](good[argument])
    elif how == "single":
        given[argument] = good[argument].float()
        good = {**good, argument: given[argument].double()}
        return rounded(case, good, given)
    elif how == "in":
        where = ENVIRONMENTS[which]()
    elif how == "all":
        given = {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in good.items()}
    else:
        exponent = int(which)
        given |= {k: times(good[k], exponent) for k in case.unit}
    return unchanged(case, good, given, exponent, tolerance, where)


def rounded(case: Case, good: dict[str, Any], given: dict[str, Any]) -> str:
    """ "" where single precision beside double gives the same to a few digits. It may cost a
    certificate something and never give it more; a rank or a link may fall.
    """
    try:
        found = quietly(case, given)
    except Exception as error:
        return f"foreign  {type(error).__name__}: {str(error)[:150]}"
    wanted = case.call(**good)
    if isinstance(found, sl.certificate.Certificate):
        more = (found.bound < wanted.bound * (1 - 1e-9)) | (wanted.bound == 0)
        fine = not more.any() and bool((found.gap <= wanted.gap + 1e-9 * wanted.gap.abs()).all())
        return "" if fine else "wrong  single precision gains"
    if isinstance(found, sl.certify.MustLinks):
        return "" if not (found.links & ~wanted.links).any() else "wrong  single precision gains"
    if isinstance(found, int):
        return "" if found <= wanted else "wrong  single precision gains"
    both = numbers(found, case.degree), numbers(wanted, case.degree)
    return "" if agree(*both, 0, 2e-3) else "wrong  another answer"


def excused(call: Call, good: dict[str, Any]) -> str | None:
    """Calls that are right although something is odd: nothing to be refused."""
    _, argument, what = call
    free = {
        ("margin", "bad infinite"),
        ("labels", "bad lists"),
        ("n_clusters", "bad none"),
        ("layers", "bad none"),
        ("groups", "bad none"),
        ("q", "bad none"),
        ("noise", "bad none"),
        ("radius", "bad none"),
        ("larger_ranks", "bad none"),
        ("checkpoints", "bad zero"),
        ("true", "bad long"),  # the other labels are named
        ("true", "bad short"),
        ("labels", "bad none") if call[0] == "probe" else ("", ""),
        ("rank", "bad none") if call[0] in ("estimator", "read_layer") else ("", ""),
    }
    return "" if (argument, what) in free else None


def fuzz(
    count: int, seed: int, *, chosen: Callable[[Call], bool] = lambda call: True
) -> Counter[str]:
    """count calls drawn at random; the lines that say what was wrong, with their number."""
    random, every = np.random.default_rng(seed), [call for call in calls() if chosen(call)]
    found: Counter[str] = Counter()
    for i in range(count):
        j = i if i < len(every) else int(random.integers(len(every)))
        problem = attempt(every[j % len(every)], np.random.default_rng([seed, i]))
        if problem:
            found[f"{' | '.join(every[j % len(every)])} | {problem}"] += 1
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=inspect.getdoc(sys.modules[__name__]))
    parser.add_argument("count", type=int, nargs="?", default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    began = time.perf_counter()
    found = fuzz(options.count, options.seed)
    for line, times_ in sorted(found.items()):
        print(f"{times_:4d}  {line}")
    kinds = Counter(line.split(" | ")[-1].split("  ")[0] for line in found.elements())
    print(
        f"{options.count} calls of {len(calls())} kinds, seed {options.seed}: "
        f"{kinds['wrong'] + kinds['accepted']} wrong answers, {kinds['foreign']} foreign refusals "
        f"({time.perf_counter() - began:.0f} s)"
    )
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
