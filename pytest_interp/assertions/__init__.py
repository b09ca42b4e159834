"""One thin function for each measurement: measure, judge, record.

Every assertion takes exactly one bound (``at_least=x``, ``at_most=x``, ``between=(low, high)`` or
``near=(value, tolerance)``), returns its :class:`~pytest_interp.verdict.judge.Verdict`, and fails with
:class:`~pytest_interp.errors.ClaimFailed` where the verdict is refuted or inconclusive. Those that name heads
measure the same on control heads: random heads of the same layers outside the circuit.

torch is imported inside the bodies only: collecting claims must stay cheap.
"""

from pytest_interp.assertions._heads import (
    assert_attention,
    assert_attention_write_correlation,
    assert_detector_score,
    assert_direct_logit_attribution,
    assert_head_patch_effect,
)
from pytest_interp.assertions._interventions import (
    assert_ablation_effect,
    assert_flips,
    assert_patch_effect,
    assert_path_patch_effect,
)
from pytest_interp.assertions._readout import (
    assert_component_attribution,
    assert_logit_lens,
    assert_loss,
    assert_next_token,
    assert_top_k,
)
from pytest_interp.assertions._task import (
    assert_accuracy,
    assert_logit_diff,
    assert_measurement,
)
from pytest_interp.assertions.backup import (
    assert_backup_heads,
    assert_self_repair,
)
from pytest_interp.assertions.circuit import (
    assert_completeness,
    assert_faithfulness,
    assert_minimality,
)
from pytest_interp.assertions.copying import (
    assert_copy_score,
    assert_ov_eigenvalue_score,
    assert_prompt_copy_score,
)
from pytest_interp.assertions.matrix import assert_matrix
from pytest_interp.assertions.some_head import (
    assert_some_head,
)
from pytest_interp.assertions.sweeps import (
    assert_cell,
    assert_every,
    assert_only,
    assert_top,
)

__all__ = [
    "assert_ablation_effect",
    "assert_accuracy",
    "assert_attention",
    "assert_attention_write_correlation",
    "assert_backup_heads",
    "assert_cell",
    "assert_completeness",
    "assert_component_attribution",
    "assert_copy_score",
    "assert_detector_score",
    "assert_direct_logit_attribution",
    "assert_every",
    "assert_faithfulness",
    "assert_flips",
    "assert_head_patch_effect",
    "assert_logit_diff",
    "assert_logit_lens",
    "assert_loss",
    "assert_matrix",
    "assert_measurement",
    "assert_minimality",
    "assert_next_token",
    "assert_only",
    "assert_ov_eigenvalue_score",
    "assert_patch_effect",
    "assert_path_patch_effect",
    "assert_prompt_copy_score",
    "assert_self_repair",
    "assert_some_head",
    "assert_top",
    "assert_top_k",
]
