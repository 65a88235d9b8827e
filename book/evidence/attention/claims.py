"""Claims about Transformers, and about what clusters beside the projector."""

from __future__ import annotations

import numpy as np

from evidence.claim import claim
from evidence.convolution.claims import (
    NAMES,
    VIEWS,
    Setting,
    described,
    destroys,
    main_point,
    middle,
    readings,
)
from evidence.criteria import limits
from evidence.readings import fewer_errors
from evidence.results import Result
from evidence.verdict import Reading, aside


def by_projector(run: Result, s: Setting) -> float:
    """Median accuracy of spectral clustering of |P_r| or |P_{r+1}|, the better one."""
    return max(middle(run, f"spectral_{q}", s.point, s.row) for q in ("r", "r1"))


def otherwise(run: Result, s: Setting) -> float:
    """… of k-means on the columns, or of spectral clustering of |P_K|, the better one."""
    return max(middle(run, name, s.point, s.row) for name in ("kmeans", "spectral_K"))


def everything(run: Result) -> list[Setting]:
    return [s for network in VIEWS for s in readings(run, network)]


def another_way(run: Result) -> list[Reading]:
    """Well otherwise and not from |P|, as the words say; then better otherwise than from |P|."""
    found = everything(run)
    cases = [{"network": s.network, **described(s)} for s in found]
    ours = np.array([by_projector(run, s) for s in found])
    theirs = np.array([otherwise(run, s) for s in found])
    well, direct = theirs >= 1 - limits.wrong, ours >= 1 - limits.wrong
    noun, unit = "ways of reading the layer", "median accuracy by k-means or |P_K|"
    own = {n: run["held_out"][main_point(run, n, "classify"), -1] for n in VIEWS}
    middle_way = float(np.median(theirs))
    return [
        Reading("by it only", well & ~direct, cases, number=middle_way, unit=unit, noun=noun),
        Reading(
            "better by it",
            well & fewer_errors(theirs, ours),
            cases,
            number=middle_way,
            unit=unit,
            noun=noun,
        ),
        Reading("from |P_r| or |P_r+1|", direct, cases, noun=noun, counts=False),
        Reading("in any way", well | direct, cases, noun=noun, counts=False),
        *(
            aside(f"{NAMES[n]} as a classifier", np.nanmedian(score), "accuracy on new points")
            for n, score in own.items()
        ),
    ]


claim(
    "transformer-destroys",
    "A four-layer Transformer does not preserve the structure.",
    lambda run: destroys(run, "transformer"),
    "architectures",
)
claim(
    "cnn-transformer-cluster-anyway",
    "Convolutional networks and Transformers cluster well all the same, by another mechanism.",
    another_way,
    "architectures",
)
