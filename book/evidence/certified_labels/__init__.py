"""Certified labels, any layer."""
