"""Measurements: pure functions of an experiment, or, for weights only, of a checkpoint."""

from pytest_interp.measure.ablation import ablation_effect, ablation_effect_sweep
from pytest_interp.measure.attention import (
    attention,
    attention_entropy,
    attention_entropy_sweep,
    attention_sweep,
)
from pytest_interp.measure.attention_write import attention_and_write, attention_write_correlation
from pytest_interp.measure.attribution import (
    component_attribution_sweep,
    direct_logit_attribution,
    direct_logit_attribution_sweep,
    source_attribution_sweep,
)
from pytest_interp.measure.attribution_patching import Screen, attribution_screen
from pytest_interp.measure.backup import BackupEffect, backup_effect, knocked_out_attribution_sweep, self_repair
from pytest_interp.measure.circuit import completeness, faithfulness, minimality
from pytest_interp.measure.copying import copy_score, copy_score_sweep, prompt_copy_score
from pytest_interp.measure.detectors import detector_score, detector_score_sweep
from pytest_interp.measure.knockout import exchange_cost, knockout_cost
from pytest_interp.measure.logit_diff import accuracy, logit_diff
from pytest_interp.measure.logit_lens import logit_lens_sweep
from pytest_interp.measure.next_token import NextToken, loss, next_token, next_tokens, top_k
from pytest_interp.measure.occurrences import occurrence_difference, selectivity
from pytest_interp.measure.ov_eigenvalues import ov_eigenvalue_score
from pytest_interp.measure.patching import flips, head_patch_effect, patch_effect, patch_effect_sweep
from pytest_interp.measure.path_patching import path_patch_effect, path_patch_effect_sweep
from pytest_interp.measure.score_statistics import score_statistics
from pytest_interp.measure.statistics import (
    activation_statistics,
    activation_values,
    correlation,
    head_norms,
    position_norms,
)
from pytest_interp.measure.strata import by_part

__all__ = [
    "BackupEffect",
    "NextToken",
    "Screen",
    "ablation_effect",
    "ablation_effect_sweep",
    "accuracy",
    "activation_statistics",
    "activation_values",
    "attention",
    "attention_and_write",
    "attention_entropy",
    "attention_entropy_sweep",
    "attention_write_correlation",
    "attribution_screen",
    "knocked_out_attribution_sweep",
    "backup_effect",
    "by_part",
    "completeness",
    "component_attribution_sweep",
    "copy_score",
    "copy_score_sweep",
    "correlation",
    "detector_score",
    "detector_score_sweep",
    "direct_logit_attribution",
    "exchange_cost",
    "faithfulness",
    "flips",
    "attention_sweep",
    "direct_logit_attribution_sweep",
    "head_norms",
    "head_patch_effect",
    "knockout_cost",
    "logit_diff",
    "logit_lens_sweep",
    "loss",
    "minimality",
    "next_token",
    "next_tokens",
    "occurrence_difference",
    "ov_eigenvalue_score",
    "patch_effect",
    "patch_effect_sweep",
    "path_patch_effect",
    "path_patch_effect_sweep",
    "position_norms",
    "prompt_copy_score",
    "score_statistics",
    "selectivity",
    "self_repair",
    "source_attribution_sweep",
    "top_k",
]
