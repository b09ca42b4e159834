"""From a measurement and a bound to a verdict: interval, outcome, robustness, the text of a failure, the record."""
