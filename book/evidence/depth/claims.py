"""Claims about trained deep networks, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evidence.claim import VACUOUS, Judgement, claim
from evidence.criteria import CLOSE
from evidence.readings import NORMS, by_count, falls, listed
from evidence.results import Result

PAIRS = ("previous_to_pre", "previous_to_post")  # X_l → W_l X_l and X_l → Y_l


def describe(point: Mapping[str, object]) -> str:
    """A setting in a few words: "reconstruct, bias, adam 0.001, noise 0.1"."""
    bias = "bias" if point["bias"] else "no bias"
    return (
        f"{point['objective']}, {bias}, {point['optimizer']} {point['lr']:g}, "
        f"noise {point['variance']:g}"
    )


def clustered(run: Result) -> np.ndarray:
    """Accuracy of spectral clustering at rank r or r + 1, the better one; mean over the trials.

    (settings, 2, layers): before training and after it.
    """
    both = np.maximum(run["spectral_acc"], run["spectral_acc_r1"])
    return both[:, [0, -1]].mean(-1)


def rises(run: Result) -> np.ndarray:
    """Whether a layer's accuracy rises by more than CLOSE or ends as good as perfect."""
    first, last = clustered(run).swapaxes(0, 1)
    return (last > first + CLOSE) | (last >= 1 - CLOSE)


def chain(run: Result) -> np.ndarray:
    """The sum of links (7.5) from X* to each layer at the end, (settings, layers, trials)."""
    return np.cumsum(run["two_links_bound"][:, -1], axis=1)


def names(run: Result, chosen: np.ndarray) -> list[str]:
    return [describe(run.settings[i]) for i in np.flatnonzero(chosen)]


def distance_falls(run: Result) -> Judgement:
    """In every layer, for both distances of the figure and in all three norms."""
    each = {(p, n): falls(run, f"{p}_{n}") for p in PAIRS for n in NORMS}
    counts = {key: int(found.all(1).sum()) for key, found in each.items()}
    of, layers = len(run.settings), len(each[PAIRS[0], "fro"][0])
    post = each["previous_to_post", "fro"]
    whole = np.asarray(post.all(1))
    counted = "; ".join(
        f"X_l to {name} " + ", ".join(f"{n} {counts[pair, n]}" for n in NORMS)
        for pair, name in zip(PAIRS, ("W_l X_l", "Y_l"), strict=True)
    )
    return Judgement(
        by_count(sum(counts.values()), of * len(counts)),
        f"of {of} settings the distance falls by a tenth in every layer in {counted}; to Y_l in "
        f"the Frobenius norm it falls in {int(post.sum())} of {of * layers} layers"
        + (f", in all of one network in {int(whole.sum())}{listed(names(run, whole))}"),
    )


def accuracy_rises(run: Result) -> Judgement:
    """In every layer; what single linkage says and whether the distances say the same beside it."""
    found, closer = rises(run), falls(run, "previous_to_post_fro")
    whole = np.asarray(found.all(1))
    ends = clustered(run)
    together, apart = int((found & closer).sum()), int((found & ~closer).sum())
    return Judgement(
        by_count(int(whole.sum()), len(run.settings)),
        f"spectral clustering of P(Y_l) gains, or ends within one point in a hundred of perfect, "
        f"in every layer in {int(whole.sum())} of {len(run.settings)} settings"
        f"{listed(names(run, whole))}; the last layer goes from {ends[:, 0, -1].mean():.2f} to "
        f"{ends[:, 1, -1].mean():.2f} on average; of {int(found.sum())} layers whose accuracy "
        f"rises the distance falls in {together} and does not in {apart}; single linkage ends at "
        f"{np.nanmean(run['acc'][:, -1]):.2f} on average",
    )


def chain_trained(run: Result) -> Judgement:
    """The sum of links against half the connectivity margin, which ε/L implies; then the bound."""
    sums, half = chain(run), run["connectivity_margin"][:, -1] / 2
    certified = sums < half
    direct = run["certified_share_affine"][:, -1]
    best = direct.mean(-1).max(0)
    where = names(run, (direct.mean(-1) > 0.5).any(1))
    finite = np.isfinite(sums)
    smallest = f"{np.min(sums[finite] / half[finite]):.2g}" if finite.any() else "infinite"
    return Judgement(
        VACUOUS if not certified.any() else by_count(int(certified.sum()), certified.size),
        f"the sum of links certifies {int(certified.sum())} of {certified.size} trained layers and "
        f"is finite in {int(finite.sum())}, at least {smallest} times what it may be; the "
        f"direct bound with row(X*) + 1 certifies, in the best setting for each layer, "
        f"{', '.join(f'{share:.0%}' for share in best)} of the points"
        + listed(where, " (more than half of them in "),
    )


claim(
    "depth-layerwise",
    "In a five-layer ReLU network the distances from a layer's input to its pre-activation and "
    "to its output fall in every layer along training (Figure 3).",
    distance_falls,
    "depth",
)
claim(
    "depth-layer-accuracy",
    "The clustering accuracy of every layer rises along training (Figure 3).",
    accuracy_rises,
    "depth",
)
claim(
    "depth-chain-trained",
    "With ε/L the theorem covers the layers of a trained five-layer network.",
    chain_trained,
    "depth",
)
