"""Chapter 7, The theorem."""
