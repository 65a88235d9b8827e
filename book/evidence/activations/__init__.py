"""Chapter 6, Activations."""
