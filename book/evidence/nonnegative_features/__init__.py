"""Chapter 18, Non-negative features."""
