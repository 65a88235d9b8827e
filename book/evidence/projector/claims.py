"""Claims about what the projector tells of the clusters."""

from evidence.claim import CHECKED, CONDITIONAL, claim
from evidence.readings import proved

claim(
    "projector-encodes",
    r"Entry $(i,j)$ of $P(X^\ast)$ is non-zero if and only if points $i$ and $j$ share a cluster.",
    proved(
        CONDITIONAL,
        *("encoding",),
        condition="independent subspaces, read as blocks: zero whenever i and j do not share one",
        otherwise=("zero-inside-block",),
    ),
    CHECKED,
)

claim(
    "projector-determines",
    r"$P(X^\ast)$ determines the clusters.",
    proved(
        CONDITIONAL,
        *("encoding", "connected-is-indivisible", "margin-is-sharp"),
        condition="independent subspaces whose blocks are connected",
        otherwise=("dependent-lines",),
    ),
    CHECKED,
)
