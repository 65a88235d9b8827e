"""Chapter 10, What a random ReLU layer does."""
