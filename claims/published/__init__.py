"""Figures that others published, one claim for a statement."""
