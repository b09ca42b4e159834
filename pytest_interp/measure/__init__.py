"""Measurements: pure functions of an experiment, or, for weights only, of a checkpoint."""

from pytest_interp.measure.attention import attention, head_attentions
from pytest_interp.measure.backup import BackupEffect, backup_effect
from pytest_interp.measure.copying import copy_score
from pytest_interp.measure.dla import direct_logit_attribution, head_attributions
from pytest_interp.measure.logit_diff import accuracy, logit_diff
from pytest_interp.measure.patching import head_patch_effect

__all__ = [
    "BackupEffect",
    "accuracy",
    "attention",
    "backup_effect",
    "copy_score",
    "direct_logit_attribution",
    "head_attentions",
    "head_attributions",
    "head_patch_effect",
    "logit_diff",
]
