"""Findings about a language model's insides as executable, snapshot-tested claims.

Names are imported on first use: pytest imports this package in every project of the environment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_interp.assertions import (
        assert_accuracy,
        assert_attention,
        assert_backup_heads,
        assert_copy_score,
        assert_direct_logit_attribution,
        assert_head_patch_effect,
        assert_logit_diff,
        assert_measurement,
        assert_self_repair,
        assert_some_head,
    )
    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.checkpoints.spec import CheckpointSpec
    from pytest_interp.circuit import Circuit, Role, load_circuit
    from pytest_interp.engine.experiment import Experiment
    from pytest_interp.errors import ClaimFailed, InterpError, NotApplicable, Unavailable, UsageError
    from pytest_interp.heads import Head, KVHead
    from pytest_interp.judge import Bound, Verdict, judge
    from pytest_interp.measurement import Measurement
    from pytest_interp.tasks.dataset import DataSet, from_strings

_HOMES = {
    "assertions": (
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
    ),
    "checkpoints.checkpoint": ("Checkpoint",),
    "checkpoints.spec": ("CheckpointSpec",),
    "circuit": ("Circuit", "Role", "load_circuit"),
    "engine.experiment": ("Experiment",),
    "errors": ("ClaimFailed", "InterpError", "NotApplicable", "Unavailable", "UsageError"),
    "heads": ("Head", "KVHead"),
    "judge": ("Bound", "Verdict", "judge"),
    "measurement": ("Measurement",),
    "tasks.dataset": ("DataSet", "from_strings"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Bound",
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
    "NotApplicable",
    "Role",
    "Unavailable",
    "UsageError",
    "Verdict",
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
    "from_strings",
    "judge",
    "load_circuit",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
