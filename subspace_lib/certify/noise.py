"""What a matrix of Gaussian noise can and cannot be: exact laws of its singular values.

Y = A + N with rank A ≤ k and N iid N(0, σ²), p×n. Compressed to the orthogonal complements of the
column and the row space of A, Y is σ times a (p − k)×(n − k) standard Gaussian matrix, and
compression lowers singular values; Weyl's inequality bounds them from above:

    σ s_i(G of (p − k)×(n − k)) ≤ s_i(Y),  i ≤ min(p, n) − k,
    s_i(Y) ≤ σ s_{i−k}(G of p×n),  i > k.

Neither law depends on anything unknown, so each index i gives an exact interval for σ.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.linalg import eigh_tridiagonal

DRAWS = 2  # in the tail of each quantile: more sharpen it little
MOST = 20_000  # draws of one law
NARROW = 1e-9  # relative: quantiles are rounded outwards by more than rounding leaves


@lru_cache(maxsize=4096)
def gaussian_values(p: int, n: int, index: int, draws: int) -> np.ndarray:
    """s_index of ``draws`` standard Gaussian p×n matrices, in rising order.

    A bidiagonal matrix B of independent chi entries has the same law; BBᵀ is tridiagonal.
    Source: Dumitriu and Edelman (2002), doi:10.1063/1.1507823.
    """
    m, M = min(p, n), max(p, n)
    random = np.random.default_rng([p, n, index])
    first = random.chisquare(np.arange(M, M - m, -1), (draws, m))
    second = random.chisquare(np.arange(m - 1, 0, -1), (draws, m - 1))
    diagonal, beside = first.copy(), np.sqrt(first[:, :-1] * second)
    diagonal[:, 1:] += second
    which = {"select": "i", "select_range": (m - index, m - index)}
    pairs = zip(diagonal, beside, strict=True)
    squares = [eigh_tridiagonal(d, e, eigvals_only=True, **which)[0] for d, e in pairs]
    return np.sqrt(np.sort(squares).clip(min=0))


def quantiles(p: int, n: int, index: int, tail: float) -> tuple[float, float]:
    """Numbers below and above which s_index of a standard Gaussian p×n matrix falls with
    probability ≤ tail each.

    Order statistics of N draws: the next value is below the j-th smallest with probability at most
    j/(N + 1), whatever the law. That probability counts the draws as well (they are fixed by p, n
    and index); no approximation of the law enters. ValueError for a tail below 1/20,000.
    """
    if tail * MOST < 1:
        raise ValueError(f"level leaves {tail:.1g} for a tail, below 1/{MOST}; take a larger level")
    draws = min(math.ceil(DRAWS / tail), MOST) - 1
    values = gaussian_values(p, n, index, draws)
    j = max(1, math.floor(tail * (draws + 1) * (1 + 1e-12)))
    return float(values[j - 1]) * (1 - NARROW), float(values[-j]) * (1 + NARROW)


def extremes(p: int, n: int, tail: float) -> tuple[float, float]:
    """The smallest and the largest singular value stay inside with probability ≥ 1 − 2·tail.

    Exact by draws; for tails too small for them by Gaussian concentration, √n ± (√p + √(2 ln 1/t)).
    Source: Davidson and Szarek (2001), doi:10.1016/S1874-5849(01)80010-3.
    """
    if tail * MOST >= 1:
        return quantiles(p, n, min(p, n), tail)[0], quantiles(p, n, 1, tail)[1]
    small, large = math.sqrt(min(p, n)), math.sqrt(max(p, n))
    reach = math.sqrt(2 * math.log(1 / tail))
    return max(0.0, large - small - reach), large + small + reach


def deviation_interval(
    s: np.ndarray, slack: float, p: int, n: int, rank: int, index: int, tail: float
) -> tuple[float, float]:
    """[low, high] that misses σ with probability ≤ tail on either side, from s_index of Y (p, n).

    s: singular values of Y, slack: rounding in them. high is ∞ where index > min(p, n) − rank.
    For noise whose columns are independent N(0, Σ), with a² I ⪯ Σ ⪯ b² I in place of σ² I: low ≤ b
    and a ≤ high, with the same probabilities.
    """
    value = float(s[index - 1])
    low = max(0.0, value - slack) / quantiles(p, n, index - rank, tail)[1]
    if index > min(p, n) - rank:
        return low, math.inf
    least = quantiles(p - rank, n - rank, index, tail)[0]
    return low, (value + slack) / least if least > 0 else math.inf


def disagreement(
    s: np.ndarray,
    slack: float,
    shape: tuple[int, int],
    rank: int,
    given: tuple[float, float] | None,
    level: float,
) -> str:
    """Why Y (p, n) cannot be a matrix of this rank plus such noise, "" if nothing speaks against.

    Intervals for σ from three indices, the first beyond the rank to one close to the last, must
    agree with the deviation ``given``, else with each other. They do with probability ≥ 1 − level;
    a spectrum that decays, or a rank too small, tears them apart.
    """
    (p, n), room = shape, min(shape) - rank
    if room < 1:
        return ""
    indices = sorted({rank + 1 + max(0, room - rank - 1) * tenths // 10 for tenths in (0, 5, 9)})
    tail = level / (2 * len(indices))
    found = {i: deviation_interval(s, slack, p, n, rank, i, tail) for i in indices}
    lowest = max(found, key=lambda i: found[i][0])
    highest = min(found, key=lambda i: found[i][1])
    low, high = found[lowest][0], found[highest][1]
    a, b = (low, high) if given is None else given
    if low <= b and a <= high:
        return ""
    speaks = f"s_{lowest} speaks for at least {low:.3g}, s_{highest} for at most {high:.3g}"
    said = "white noise" if given is None else f"noise of deviation {a:.3g} to {b:.3g}"
    return f"not {said} on a matrix of rank {rank}: {speaks}"
