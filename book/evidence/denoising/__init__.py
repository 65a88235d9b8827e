"""Chapter 4, Denoising."""
