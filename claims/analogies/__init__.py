"""Analogies, in words and in order of the same content."""
