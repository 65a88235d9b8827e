"""Claims about unions of subspaces."""

from evidence.claim import CONDITIONAL, claim
from evidence.readings import CHECKED, proved

claim(
    "identifiability",
    "r < n makes the clusters identifiable from the projector.",
    proved(CONDITIONAL, "independence-is-a-rank", "points-as-lines", "encoding"),
    CHECKED,
)
