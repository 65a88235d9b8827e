"""Chapter 19, The diagnostic on your own model."""
