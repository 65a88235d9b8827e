"""Chapter 17, Real data."""
