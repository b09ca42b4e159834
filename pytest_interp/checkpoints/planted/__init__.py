"""Models whose every head is known by construction."""
