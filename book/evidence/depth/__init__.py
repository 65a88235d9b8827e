"""Chapter 13, Depth."""
