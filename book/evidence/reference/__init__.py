"""Chapter 8, One reference for any layer."""
