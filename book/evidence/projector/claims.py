"""Claims about what the projector tells of the clusters."""

from evidence.claim import CONDITIONAL, FAILS, claim
from evidence.readings import CHECKED, proved

claim(
    "projector-encodes",
    "Entry (i, j) of P(X*) is non-zero if and only if points i and j share a cluster.",
    proved(FAILS, "zero-inside-block", "encoding"),
    CHECKED,
)

claim(
    "projector-determines",
    "P(X*) determines the clusters.",
    proved(CONDITIONAL, "encoding", "connected-is-indivisible", "margin-is-sharp"),
    CHECKED,
)
