"""Chapter 3, How row spaces move."""
