"""Chapter 1, Unions of subspaces."""
