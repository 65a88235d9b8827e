"""Chapter 15, Convolution and attention."""
