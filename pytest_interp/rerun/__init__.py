"""A claim run again: on mutants, for its noise, in another precision."""
