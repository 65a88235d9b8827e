"""Chapter 14, Other activations and recurrent layers."""
