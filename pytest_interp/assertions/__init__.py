"""One thin function for each measurement: measure, judge, record.

Every assertion takes exactly one bound (``at_least=x``, ``at_most=x``, ``between=(low, high)`` or
``near=(value, tolerance)``), returns its :class:`~pytest_interp.verdict.judge.Verdict`, and fails with
:class:`~pytest_interp.errors.ClaimFailed` where the verdict is refuted or inconclusive. Those that name heads
measure the same on control heads: random heads of the same layers outside the circuit.

torch is imported inside the bodies only: collecting claims must stay cheap.
"""
