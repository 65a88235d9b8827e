"""From what is observed."""
