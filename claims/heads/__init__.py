"""Heads by what they attend to, whatever the task."""
