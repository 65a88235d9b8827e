"""Claims about linear maps."""

from evidence.claim import CHECKED, CONDITIONAL, HOLDS, claim
from evidence.readings import proved

claim(
    "linear-rank",
    "The paper's Lemma 4.2: rank W ≥ r is enough for P(WX*) = P(X*).",
    proved(
        CONDITIONAL,
        *("rank-kept", "wide-layers-are-safe"),
        condition="rank WX* = r, as for almost every W with at least r rows",
        otherwise=("rank-misses-signal",),
    ),
    CHECKED,
)

claim(
    "linear-link",
    "With a gap δ₂ the linear map moves the projector by less than its share of ε.",
    proved(HOLDS, "rank-kept", "layer-link"),
    CHECKED,
)
