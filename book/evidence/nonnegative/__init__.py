"""Chapter 12, Non-negative initialisation."""
