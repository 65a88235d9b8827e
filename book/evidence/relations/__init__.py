"""Chapter 20, Relations."""
