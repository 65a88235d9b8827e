"""Claims about unions of subspaces."""

from evidence.claim import CHECKED, CONDITIONAL, claim
from evidence.readings import proved

claim(
    "identifiability",
    r"$r<n$ makes the clusters identifiable from the projector.",
    proved(
        CONDITIONAL,
        *("independence-is-a-rank", "encoding"),
        condition="independent subspaces with more points than dimensions in each",
        otherwise=("points-as-lines",),
    ),
    CHECKED,
)
