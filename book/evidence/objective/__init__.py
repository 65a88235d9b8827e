"""Chapter 16, Reconstruct or classify?."""
