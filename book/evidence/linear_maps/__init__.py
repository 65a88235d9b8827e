"""Chapter 5, Linear maps."""
