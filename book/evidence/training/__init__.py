"""Chapter 11, Does training find it?."""
