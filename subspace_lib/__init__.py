"""Projectors, perturbation bounds and certificates for the clusters that networks preserve.

Data flows one way: data → representation → row basis → gap and bound → certificate → verdict.
Matrices hold one data point per column; leading axes are batch.
"""

from subspace_lib import figures
from subspace_lib._diagnostics import diagnose
from subspace_lib.bounds import (
    Certificate,
    depth_corollary,
    lemma_4_1,
    lemma_4_2,
    lemma_4_3,
    spectral_gap,
    theorem_3_1,
    wedin_bound,
)
from subspace_lib.clustering import (
    accuracy,
    cluster_by_threshold,
    clustering_scores,
    connectivity_margin,
    minimum_margin,
    single_linkage,
)
from subspace_lib.data import ObservedData, UnionOfSubspaces, add_noise, observe, sample_union
from subspace_lib.estimator import ProjectorClustering
from subspace_lib.kernels import (
    LostAngle,
    infinite_layer,
    lost_angle,
    norm_profile_reference,
    relu_kernel,
    relu_kernel_parts,
)
from subspace_lib.networks import Convolutional, FeedForward, Recurrent, Transformer
from subspace_lib.probe import LayerProbe
from subspace_lib.projectors import (
    containment_distance,
    numerical_rank,
    principal_angles,
    projection_distance,
    row_basis,
    row_projector,
    sin_theta,
)
from subspace_lib.reference import (
    ClusterCertificate,
    DirectionCertificate,
    affine_reference,
    certify_clusters,
    direction_bounds,
    entrywise_bound,
    entrywise_margin,
    label_reference,
    one_step_bound,
    reference_bound,
)
from subspace_lib.relations import (
    Collapse,
    neural_collapse,
    ridge_self_expression,
    sharpness,
    sparse_self_expression,
    veronese,
)
from subspace_lib.training import Trajectory, train

__version__ = "0.1.0"

__all__ = [
    "Certificate",
    "ClusterCertificate",
    "Collapse",
    "Convolutional",
    "DirectionCertificate",
    "FeedForward",
    "LayerProbe",
    "LostAngle",
    "ObservedData",
    "ProjectorClustering",
    "Recurrent",
    "Trajectory",
    "Transformer",
    "UnionOfSubspaces",
    "accuracy",
    "add_noise",
    "affine_reference",
    "certify_clusters",
    "cluster_by_threshold",
    "clustering_scores",
    "connectivity_margin",
    "containment_distance",
    "depth_corollary",
    "diagnose",
    "direction_bounds",
    "entrywise_bound",
    "entrywise_margin",
    "figures",
    "infinite_layer",
    "label_reference",
    "lemma_4_1",
    "lemma_4_2",
    "lemma_4_3",
    "lost_angle",
    "minimum_margin",
    "neural_collapse",
    "norm_profile_reference",
    "numerical_rank",
    "observe",
    "one_step_bound",
    "principal_angles",
    "projection_distance",
    "reference_bound",
    "relu_kernel",
    "relu_kernel_parts",
    "ridge_self_expression",
    "row_basis",
    "row_projector",
    "sample_union",
    "sharpness",
    "sin_theta",
    "single_linkage",
    "sparse_self_expression",
    "spectral_gap",
    "theorem_3_1",
    "train",
    "veronese",
    "wedin_bound",
]
