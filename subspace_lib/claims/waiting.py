"""Rows that wait for the chapter that will test them: id → (its number, the claim)."""

from subspace_lib.claims._ledger import Claim, register

WAITING = {
    "depth-layerwise": (
        13,
        "In a five-layer ReLU network the distance falls in every layer along training, and the "
        "clustering accuracy of every layer rises.",
    ),
    "cnn-destroys": (15, "A three-layer convolutional network does not preserve the structure."),
    "transformer-destroys": (15, "A four-layer Transformer does not preserve the structure."),
    "cnn-transformer-cluster-anyway": (
        15,
        "Convolutional networks and Transformers cluster well all the same, by another mechanism.",
    ),
    "real-data-preserve": (
        17,
        "Five-layer ReLU networks preserve the cluster structure of a dozen real data sets.",
    ),
    "real-data-scores": (17, "ACC, NMI and ARI on these data sets are perfect or nearly so."),
}
for _id, (_chapter, _says) in WAITING.items():
    register(Claim(_id, _says, _chapter))
