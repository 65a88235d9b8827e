"""What the layers of any PyTorch model do to a subspace."""

from subspace_lib.probe.hooks import LayerProbe, ProbeTable

__all__ = ["LayerProbe", "ProbeTable"]
