"""Measurements: pure functions of an experiment, or, for weights only, of a checkpoint."""

from pytest_interp.measure.ablation import ablation_effect, ablation_sweep
from pytest_interp.measure.attention import (
    attention,
    attention_and_write,
    attention_write_correlation,
    head_attentions,
)
from pytest_interp.measure.attribution import (
    component_attributions,
    direct_logit_attribution,
    head_attributions,
    source_attributions,
)
from pytest_interp.measure.attribution_patching import Screen, attribution_screen
from pytest_interp.measure.backup import BackupEffect, attributions_without, backup_effect, self_repair
from pytest_interp.measure.circuit import completeness, faithfulness, minimality
from pytest_interp.measure.copying import copy_score, copy_scores, ov_eigenvalue_score, prompt_copy_score
from pytest_interp.measure.detectors import detector_score, detector_scores
from pytest_interp.measure.logit_diff import accuracy, logit_diff
from pytest_interp.measure.logit_lens import logit_lens
from pytest_interp.measure.next_token import NextToken, loss, next_token, next_tokens, top_k
from pytest_interp.measure.patching import flips, head_patch_effect, patch_effect, patch_sweep
from pytest_interp.measure.path_patching import path_patch_effect, path_patch_sweep
from pytest_interp.measure.score_statistics import score_statistics
from pytest_interp.measure.statistics import (
    activation_statistics,
    activation_values,
    correlation,
    head_norms,
    occurrence_difference,
    position_norms,
    selectivity,
)
from pytest_interp.measure.strata import by_part

__all__ = [
    "BackupEffect",
    "NextToken",
    "Screen",
    "ablation_effect",
    "ablation_sweep",
    "accuracy",
    "activation_statistics",
    "activation_values",
    "attention",
    "attention_and_write",
    "attention_write_correlation",
    "attribution_screen",
    "attributions_without",
    "backup_effect",
    "by_part",
    "completeness",
    "component_attributions",
    "copy_score",
    "copy_scores",
    "correlation",
    "detector_score",
    "detector_scores",
    "direct_logit_attribution",
    "faithfulness",
    "flips",
    "head_attentions",
    "head_attributions",
    "head_norms",
    "head_patch_effect",
    "logit_diff",
    "logit_lens",
    "loss",
    "minimality",
    "next_token",
    "next_tokens",
    "occurrence_difference",
    "ov_eigenvalue_score",
    "patch_effect",
    "patch_sweep",
    "path_patch_effect",
    "path_patch_sweep",
    "position_norms",
    "prompt_copy_score",
    "score_statistics",
    "selectivity",
    "self_repair",
    "source_attributions",
    "top_k",
]
