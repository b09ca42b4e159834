"""The public names, each with its home: type checkers read them here, and ``__init__.py`` imports them on first use."""

from pytest_interp.assertions.ablation import assert_ablation_effect as assert_ablation_effect
from pytest_interp.assertions.attention import assert_attention as assert_attention
from pytest_interp.assertions.attention import assert_attention_entropy as assert_attention_entropy
from pytest_interp.assertions.attribution import (
    assert_component_attribution as assert_component_attribution,
)
from pytest_interp.assertions.attribution import (
    assert_direct_logit_attribution as assert_direct_logit_attribution,
)
from pytest_interp.assertions.backup import (
    assert_backup_heads as assert_backup_heads,
)
from pytest_interp.assertions.backup import (
    assert_self_repair as assert_self_repair,
)
from pytest_interp.assertions.circuit import (
    assert_completeness as assert_completeness,
)
from pytest_interp.assertions.circuit import (
    assert_faithfulness as assert_faithfulness,
)
from pytest_interp.assertions.circuit import (
    assert_minimality as assert_minimality,
)
from pytest_interp.assertions.copying import (
    assert_copy_score as assert_copy_score,
)
from pytest_interp.assertions.copying import (
    assert_ov_eigenvalue_score as assert_ov_eigenvalue_score,
)
from pytest_interp.assertions.copying import (
    assert_prompt_copy_score as assert_prompt_copy_score,
)
from pytest_interp.assertions.detectors import assert_detector_score as assert_detector_score
from pytest_interp.assertions.logit_diff import (
    assert_accuracy as assert_accuracy,
)
from pytest_interp.assertions.logit_diff import (
    assert_logit_diff as assert_logit_diff,
)
from pytest_interp.assertions.logit_lens import assert_logit_lens as assert_logit_lens
from pytest_interp.assertions.matrix import assert_matrix as assert_matrix
from pytest_interp.assertions.next_token import (
    assert_loss as assert_loss,
)
from pytest_interp.assertions.next_token import (
    assert_next_token as assert_next_token,
)
from pytest_interp.assertions.next_token import (
    assert_top_k as assert_top_k,
)
from pytest_interp.assertions.own_numbers import assert_measurement as assert_measurement
from pytest_interp.assertions.patching import (
    assert_flips as assert_flips,
)
from pytest_interp.assertions.patching import (
    assert_head_patch_effect as assert_head_patch_effect,
)
from pytest_interp.assertions.patching import (
    assert_patch_effect as assert_patch_effect,
)
from pytest_interp.assertions.path_patching import assert_path_patch_effect as assert_path_patch_effect
from pytest_interp.assertions.some_head import assert_some_head as assert_some_head
from pytest_interp.assertions.statistics import assert_attention_write_correlation as assert_attention_write_correlation
from pytest_interp.assertions.sweeps import (
    assert_cell as assert_cell,
)
from pytest_interp.assertions.sweeps import (
    assert_every as assert_every,
)
from pytest_interp.assertions.sweeps import (
    assert_only as assert_only,
)
from pytest_interp.assertions.sweeps import (
    assert_top as assert_top,
)
from pytest_interp.checkpoints.checkpoint import Checkpoint as Checkpoint
from pytest_interp.checkpoints.open import load as load
from pytest_interp.checkpoints.open import save as save
from pytest_interp.checkpoints.spec import CheckpointSpec as CheckpointSpec
from pytest_interp.circuit import Circuit as Circuit
from pytest_interp.circuit import Role as Role
from pytest_interp.circuit_file import load_circuit as load_circuit
from pytest_interp.engine.experiment import Experiment as Experiment
from pytest_interp.engine.metric import Metric as Metric
from pytest_interp.errors import (
    ClaimFailed as ClaimFailed,
)
from pytest_interp.errors import (
    InterpError as InterpError,
)
from pytest_interp.errors import (
    NotApplicable as NotApplicable,
)
from pytest_interp.errors import (
    Unavailable as Unavailable,
)
from pytest_interp.errors import (
    UsageError as UsageError,
)
from pytest_interp.explore.exploration import Exploration as Exploration
from pytest_interp.explore.exploration import explore_task as explore_task
from pytest_interp.heads import Head as Head
from pytest_interp.heads import KVHead as KVHead
from pytest_interp.measurement import Measurement as Measurement
from pytest_interp.measurement import Sample as Sample
from pytest_interp.plugin.check import Checked as Checked
from pytest_interp.plugin.check import check as check
from pytest_interp.table import Table as Table
from pytest_interp.tasks.dataset import DataSet as DataSet
from pytest_interp.tasks.listed import from_ids as from_ids
from pytest_interp.tasks.listed import from_strings as from_strings
from pytest_interp.verdict.bound import Bound as Bound
from pytest_interp.verdict.judge import Verdict as Verdict
from pytest_interp.verdict.judge import judge as judge

__version__: str
