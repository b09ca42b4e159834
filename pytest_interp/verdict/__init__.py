"""Verdicts: bounds, intervals, outcomes, robustness, failure messages and records."""
