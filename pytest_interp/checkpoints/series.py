"""Several checkpoints under one name: revisions of a model of the hub, or the steps in a folder; loads nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pytest_interp.checkpoints.sources.library_errors import as_usage_error
from pytest_interp.checkpoints.sources.weight_files import CONFIG
from pytest_interp.checkpoints.spec import CheckpointSpec, resolve
from pytest_interp.common.steps import ordered, step_of
from pytest_interp.errors import UsageError
from pytest_interp.text import shown

MOST = 1000
"""Revisions of a range; more of them are a slip of the pen."""
_LABELS = {"EleutherAI/pythia": "step{}", "stanford-crfm": "checkpoint-{}"}
"""How the hub names the training step of a family of models, as TransformerLens has it; a bare number stands for it."""


def specs_of(text: str, known: Mapping[str, CheckpointSpec], revisions: str | None) -> list[CheckpointSpec]:
    """Returns the checkpoints that a user named.

    Args:
        text: a name or path as for :func:`resolve`; or a folder without ``config.json``, or a pattern with ``*``, whose
            subfolders are numbered checkpoints.
        known: the registered checkpoints by name.
        revisions: of the hub: one, a list or a range as for :func:`revisions_of`; None for the main branch.

    Returns:
        One checkpoint or several. Those of revisions are in the user's order and named ``NAME@REVISION``; those of a
        folder are in the order of their numbers and named ``FOLDER@SUBFOLDER``. A subfolder that cannot be loaded is
        among them.

    Raises:
        UsageError: no such checkpoint, or a range that is none.

    Example:
        >>> from pytest_interp.checkpoints.spec import known_specs
        >>> [spec.name for spec in specs_of("pythia-70m", known_specs(), "0:2000:1000")]
        ['pythia-70m@step0', 'pythia-70m@step1000', 'pythia-70m@step2000']
    """
    if revisions is None and text not in known and (folders := _numbered(text)):
        return [
            CheckpointSpec(f"{folder.parent.name}@{folder.name}", "directory", str(folder.absolute()))
            for folder in folders
        ]
    if revisions is None:
        return [resolve(text, known)]
    spec = resolve(text, known)
    return [resolve(text, known, _label(spec, revision)) for revision in revisions_of(revisions)]


def revisions_of(text: str) -> list[str]:
    """Returns the revisions that a text stands for.

    Args:
        text: revisions and ranges, separated by commas. A range is ``FIRST:LAST:STEP``, such as
            ``step0:step5000:1000``; its last step is included.

    Raises:
        UsageError: a range without whole numbers, with a step below 1, that goes down, or with more than 1000 steps; a
            revision twice.

    Example:
        >>> revisions_of("step0,step1000:step3000:1000")
        ['step0', 'step1000', 'step2000', 'step3000']
    """
    revisions = [revision for part in text.split(",") for revision in _of_part(part.strip())]
    if twice := sorted({revision for revision in revisions if revisions.count(revision) > 1}):
        raise UsageError(f"--interp-revision names {shown(twice[0])} twice; leave one out")
    return revisions


def _of_part(part: str) -> list[str]:
    """Returns the revisions of a range; another text alone: git allows no colon in a revision's name."""
    if ":" not in part:
        return [part]
    match = re.fullmatch(r"(\D*)(\d+):(\D*)(\d+):(\d+)", part)
    if match is None or match[3] not in ("", match[1]):
        raise UsageError(
            f"--interp-revision has {shown(part)}, which is no range; pass FIRST:LAST:STEP, such as step0:step5000:1000"
        )
    prefix, (first, last, step) = match[1], (int(match[group]) for group in (2, 4, 5))
    if step < 1 or last < first or (last - first) // step >= MOST:
        raise UsageError(
            f"--interp-revision has the range {shown(part)}; its step is at least 1, its last number is not below the "
            f"first, and it has at most {MOST} steps"
        )
    return [f"{prefix}{number}" for number in range(first, last + 1, step)]


def _label(spec: CheckpointSpec, revision: str) -> str:
    """Returns the revision of a training step that is a bare number; another revision as it is."""
    if not revision.isdecimal():
        return revision
    return next(
        (label.format(revision) for family, label in _LABELS.items() if spec.source.startswith(family)), revision
    )


def _numbered(text: str) -> list[Path]:
    """Returns the numbered subfolders of a folder that is no checkpoint itself, or those of a pattern, in order."""
    with as_usage_error(f"{shown(text)} is no path", "pass a directory, a .gguf file, or a name"):
        path = Path(text).expanduser().absolute()
        folder, pattern = (path.parent, path.name) if "*" in path.name else (path, "*")
        if not folder.is_dir() or (pattern == "*" and (folder / CONFIG).is_file()):
            return []
        folders = [item for item in sorted(folder.glob(pattern)) if item.is_dir() and step_of(item.name) is not None]
    # Without any checkpoint it is another kind of folder, and the message about it is that of a single one.
    if not any((item / CONFIG).is_file() for item in folders):
        return []
    order = ordered([item.name for item in folders])
    return folders if order is None else [folders[place] for place in order]
