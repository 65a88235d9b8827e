"""Chapter 9, Entry by entry."""
