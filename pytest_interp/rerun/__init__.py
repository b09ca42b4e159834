"""Runs a claim again: on mutants, under conditions that show its noise, in another precision."""
