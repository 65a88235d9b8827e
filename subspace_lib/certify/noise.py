"""What a matrix of Gaussian noise can and cannot be: exact laws of its singular values.

Y = A + N with rank A ≤ k and N iid N(0, σ²), p×n, p ≤ n. On the n − k directions that A sends to
zero Y is σG with G standard Gaussian, p×(n − k). Leaving out k dimensions interlaces:

    σ s_i(G) ≤ s_i(Y) ≤ σ s_{i−k}(G)  for every i > k,

and the law of G depends on nothing unknown: each index i gives an exact interval for σ. Noise with
independent columns N(0, Σ), a² I ⪯ Σ ⪯ b² I, has a s_i(G) ≤ s_i(Y) ≤ b s_{i−k}(G).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.linalg import eigh_tridiagonal

DRAWS = 4  # per reciprocal tail; the outermost one is taken
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

    The outermost of N ≥ 4/tail − 1 draws: whatever the law, the next value lies beyond it with
    probability 1/(N + 1), so a quarter of the tail covers the draws as well. They are drawn once
    and for all; of all such draws 2 % would be exceeded more often than ``tail`` thereafter.
    ValueError for a tail below 1/20,000.
    """
    if tail * MOST < 1:
        raise ValueError(f"level leaves {tail:.1g} for a tail, below 1/{MOST}; take a larger level")
    values = gaussian_values(p, n, index, min(math.ceil(DRAWS / tail), MOST) - 1)
    return float(values[0]) * (1 - NARROW), float(values[-1]) * (1 + NARROW)


def extremes(p: int, n: int, tail: float) -> tuple[float, float]:
    """All p singular values of a Gaussian p×n matrix (0 beyond n) stay inside, tail per side.

    Exact by draws; for tails too small for them by Gaussian concentration, √n ± (√p + √(2 ln 1/t)).
    Source: Davidson and Szarek (2001), doi:10.1016/S1874-5849(01)80010-3.
    """
    if tail * MOST >= 1:
        low, high = quantiles(p, n, min(p, n), tail)[0], quantiles(p, n, 1, tail)[1]
    else:
        reach = math.sqrt(2 * math.log(1 / tail))
        low, high = (math.sqrt(n) + sign * (math.sqrt(p) + reach) for sign in (-1, 1))
    return (max(0.0, low) if p <= n else 0.0), high


@dataclass(frozen=True)
class Spectrum:
    """Singular values s of Y, rounding ``slack`` in them, the shape of Y and the rank of A."""

    s: np.ndarray
    slack: float
    shape: tuple[int, int]
    rank: int

    @property
    def indices(self) -> list[int]:
        """Which ones to ask: the 2k-th, then the first beyond the rank, a middle and a late one.

        Chosen by the sizes alone. At about 2k an interval is narrowest, in every shape tried; the
        last values of a square matrix are too close to zero to say anything.
        """
        first, last = self.rank + 1, min(min(self.shape), max(self.shape) - self.rank)
        later = {first + (last - first) * tenths // 10 for tenths in (0, 5, 9)}
        return [min(2 * self.rank, last), *sorted(later)] if first <= last else []

    def interval(self, index: int, tail: float) -> tuple[float, float]:
        """[low, high] that misses σ with probability ≤ tail on either side.

        Covariance between a² I and b² I: low ≤ b and a ≤ high, with the same probabilities.
        """
        small, large = min(self.shape), max(self.shape) - self.rank
        value = float(self.s[index - 1])
        low = max(0.0, value - self.slack) / quantiles(small, large, index - self.rank, tail)[1]
        least = quantiles(small, large, index, tail)[0]
        return low, (value + self.slack) / least if least > 0 else math.inf

    def disagreement(self, given: tuple[float, float] | None, level: float) -> str:
        """Why Y cannot be a matrix of this rank plus such noise, "" if nothing speaks against.

        Intervals from several indices must agree with the deviation ``given``, else with each
        other. They do with probability ≥ 1 − level; a spectrum that decays, or a rank too small,
        tears them apart.
        """
        asked = self.indices[1:]
        found = {i: self.interval(i, level / (2 * len(asked))) for i in asked}
        first, last = max(found, key=lambda i: found[i][0]), min(found, key=lambda i: found[i][1])
        low, high = found[first][0], found[last][1]
        a, b = (low, high) if given is None else given
        if low <= b and a <= high:
            return ""
        said = "white noise" if given is None else f"noise of deviation {a:.3g} to {b:.3g}"
        speaks = f"s_{first} speaks for at least {low:.3g}, s_{last} for at most {high:.3g}"
        return f"not {said} on a matrix of rank {self.rank}: {speaks}"
