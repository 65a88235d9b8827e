"""What the layers of any PyTorch model do to a subspace."""

from subspace_lib.probe.hooks import LayerProbe
from subspace_lib.probe.table import ProbeTable

__all__ = ["LayerProbe", "ProbeTable"]
