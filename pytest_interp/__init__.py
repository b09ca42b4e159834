"""Findings about a language model's insides as executable, snapshot-tested claims.

Names are imported on first use: pytest imports this package in every project of the environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_interp.assertions import (
        assert_ablation_effect,
        assert_accuracy,
        assert_attention,
        assert_attention_write_correlation,
        assert_backup_heads,
        assert_cell,
        assert_completeness,
        assert_component_attribution,
        assert_copy_score,
        assert_detector_score,
        assert_direct_logit_attribution,
        assert_every,
        assert_faithfulness,
        assert_flips,
        assert_head_patch_effect,
        assert_logit_diff,
        assert_logit_lens,
        assert_loss,
        assert_matrix,
        assert_measurement,
        assert_minimality,
        assert_next_token,
        assert_only,
        assert_ov_eigenvalue_score,
        assert_patch_effect,
        assert_path_patch_effect,
        assert_prompt_copy_score,
        assert_self_repair,
        assert_some_head,
        assert_top,
        assert_top_k,
    )
    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.checkpoints.spec import CheckpointSpec
    from pytest_interp.circuit import Circuit, Role
    from pytest_interp.circuit_file import load_circuit
    from pytest_interp.engine.experiment import Experiment
    from pytest_interp.engine.metric import Metric
    from pytest_interp.errors import ClaimFailed, InterpError, NotApplicable, Unavailable, UsageError
    from pytest_interp.heads import Head, KVHead
    from pytest_interp.measurement import Measurement
    from pytest_interp.plugin.check import Checked, check
    from pytest_interp.table import Table
    from pytest_interp.tasks.dataset import DataSet
    from pytest_interp.tasks.listed import from_ids, from_strings
    from pytest_interp.verdict.bound import Bound
    from pytest_interp.verdict.judge import Verdict, judge

    __version__: str

_HOMES = {
    "assertions": (
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
    ),
    "checking": ("Checked", "check"),
    "checkpoints.checkpoint": ("Checkpoint",),
    "checkpoints.spec": ("CheckpointSpec",),
    "circuit": ("Circuit", "Role"),
    "circuit_file": ("load_circuit",),
    "engine.experiment": ("Experiment",),
    "engine.metric": ("Metric",),
    "errors": ("ClaimFailed", "InterpError", "NotApplicable", "Unavailable", "UsageError"),
    "heads": ("Head", "KVHead"),
    "measurement": ("Measurement",),
    "table": ("Table",),
    "tasks.dataset": ("DataSet",),
    "tasks.listed": ("from_ids", "from_strings"),
    "verdict.bound": ("Bound",),
    "verdict.judge": ("Verdict", "judge"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Bound",
    "Checked",
    "Checkpoint",
    "CheckpointSpec",
    "Circuit",
    "ClaimFailed",
    "DataSet",
    "Experiment",
    "Head",
    "InterpError",
    "KVHead",
    "Measurement",
    "Metric",
    "NotApplicable",
    "Role",
    "Table",
    "Unavailable",
    "UsageError",
    "Verdict",
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
    "check",
    "from_ids",
    "from_strings",
    "judge",
    "load_circuit",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("pytest-interp")
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
