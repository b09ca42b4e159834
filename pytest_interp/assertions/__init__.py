"""One thin function for each measurement: measure, judge, record.

Every assertion takes exactly one bound (``at_least=x``, ``at_most=x``, ``between=(low, high)`` or
``near=(value, tolerance)``), returns its :class:`~pytest_interp.judge.Verdict`, and fails with
:class:`~pytest_interp.errors.ClaimFailed` where the verdict is refuted or inconclusive. Those that name heads
measure the same on control heads: random heads of the same layers outside the circuit.

torch is imported inside the bodies only: collecting claims must stay cheap.
"""

from pytest_interp.assertions._backup import assert_backup_heads, assert_self_repair
from pytest_interp.assertions._heads import (
    assert_attention,
    assert_copy_score,
    assert_direct_logit_attribution,
    assert_head_patch_effect,
)
from pytest_interp.assertions._some_head import assert_some_head
from pytest_interp.assertions._task import assert_accuracy, assert_logit_diff, assert_measurement

__all__ = [
    "assert_accuracy",
    "assert_attention",
    "assert_backup_heads",
    "assert_copy_score",
    "assert_direct_logit_attribution",
    "assert_head_patch_effect",
    "assert_logit_diff",
    "assert_measurement",
    "assert_self_repair",
    "assert_some_head",
]
