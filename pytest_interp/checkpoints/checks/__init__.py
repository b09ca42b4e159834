"""Checks on a loaded checkpoint, before anything is claimed of it."""
