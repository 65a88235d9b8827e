"""Claims about real data and practice: rows that wait for their chapters."""

from subspace_lib.claims._ledger import Claim, register

WAITING = {
    "real-data-preserve": (
        17,
        "Five-layer ReLU networks preserve the cluster structure of a dozen real data sets.",
    ),
    "real-data-scores": (17, "ACC, NMI and ARI on these data sets are perfect or nearly so."),
    "nonnegative-practice": (
        18,
        "Non-negative features with non-negative initialisation are the sweet spot in practice.",
    ),
}
for _id, (_chapter, _says) in WAITING.items():
    register(Claim(_id, _says, _chapter))
