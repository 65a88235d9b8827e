"""Claims about trained deep networks, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from evidence.claim import CHECKED, CONDITIONAL, claim
from evidence.readings import NORM_NAMES, as_good, ends_lower, falls, mostly, proved
from evidence.results import Result
from evidence.verdict import Reading, aside

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
    ends = [0, -1]
    return np.maximum(run["spectral_acc"][:, ends], run["spectral_acc_r1"][:, ends]).mean(-1)


def rises(run: Result) -> np.ndarray:
    """Whether a layer's accuracy rises by more than a hundredth or ends as good as perfect."""
    first, last = clustered(run).swapaxes(0, 1)
    return ~as_good(first, last) | as_good(last, 1.0)


def chain(run: Result) -> np.ndarray:
    """The sum of links (17.4) from X* to each layer at the end, (settings, layers, trials)."""
    return np.cumsum(run["two_links_bound"][:, -1], axis=1)


def distance_falls(run: Result) -> list[Reading]:
    """Both distances of the figure in every layer: along the path, then end against start."""
    readings = []
    for way, found in (("along the path", falls), ("end against start", ends_lower)):
        for norm, words in NORM_NAMES.items():
            each = np.stack([found(run, f"{pair}_{norm}") for pair in PAIRS])
            readings.append(
                Reading(
                    f"{words}, {way}",
                    each.all((0, 2)),
                    run.settings,
                    number=float(each[1].sum()),
                    unit=f"of {each[1].size} layers in which the distance to Y_l falls",
                )
            )
    return readings


def accuracy_rises(run: Result) -> list[Reading]:
    """In every layer; what single linkage says and whether the distances say the same beside it."""
    found, closer, after = rises(run), ends_lower(run, "previous_to_post_fro"), clustered(run)[:, 1]
    return [
        Reading(
            "spectral clustering, every layer",
            found.all(1),
            run.settings,
            number=float(after[:, -1].mean()),
            unit="mean accuracy of the last layer at the end",
        ),
        aside("layers whose accuracy rises while the distance falls", (found & closer).sum()),
        aside("layers whose accuracy rises while it does not", (found & ~closer).sum()),
        aside("single linkage at the end", np.nanmean(run["acc"][:, -1]), "mean accuracy"),
    ]


def chain_trained(run: Result) -> list[Reading]:
    """The sum of links against half the connectivity margin, which ε/L implies; then the bound."""
    sums, half = chain(run), run["connectivity_margin"][:, -1] / 2
    certified = sums < half
    cases = [{**s, "layer": k + 1} for s in run.settings for k in range(sums.shape[1])]
    best = run["certified_share_affine"][:, -1].mean(-1).max(0)
    return [
        Reading(
            "the sum of links is below half the connectivity margin",
            mostly(certified).ravel(),
            cases,
            met=certified.any(-1).ravel(),
            number=float((sums / half).min()),
            unit="times what it may be, at the least",
            noun="trained layers",
        ),
        aside("trials with a finite sum", np.isfinite(sums).mean(), "of the trained layers"),
        aside("direct bound, first layer, best setting", best[0], "of the points certified"),
        aside("direct bound, last layer, best setting", best[-1], "of the points certified"),
    ]


claim(
    "depth-union-bound",
    r"A union bound with $\varepsilon/L$ extends the theorem to $L$ layers.",
    proved(
        CONDITIONAL,
        "sum-of-links",
        condition="a clean matrix is named at every layer and each of its links holds",
        otherwise=("second-layer-unclean",),
    ),
    CHECKED,
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
    r"With $\varepsilon/L$ the theorem covers the layers of a trained five-layer network.",
    chain_trained,
    "depth",
)
