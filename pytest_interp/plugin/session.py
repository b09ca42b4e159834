"""Session: what one run of pytest knows and keeps, under one key of the config's stash."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pytest

from pytest_interp.common.progress import activity
from pytest_interp.errors import InterpError, Unavailable, UsageError
from pytest_interp.plugin.options import Options, read_options

if TYPE_CHECKING:
    from pytest_interp.cache.store import Cache
    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.plugin.selection import Selection, Target


@dataclass(frozen=True)
class Plan:
    """What a run does with the claims that were collected, in builtin types.

    Attributes:
        claims: the checkpoint of each claim that runs, by node id.
        unchecked: checkpoint and reason of each claim that was deselected because its weights are not here.
        deselected: how many claims were deselected, by why.
    """

    claims: Mapping[str, str]
    unchecked: Sequence[Sequence[str]] = ()
    deselected: Mapping[str, int] | None = None


class Session:
    """What one run knows and keeps.

    Attributes:
        config: of the run.
        plan: what it does with the collected claims; None before collection has ended.
        deselected: the claims that cannot run here; None before collection has ended.
        refusal: why input was refused in the collector that is at work; empty where it was not.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.plan: Plan | None = None
        self.deselected: list[pytest.Item] | None = None
        self.refusal = ""
        self._checkpoints: dict[str, Checkpoint | InterpError] = {}
        self._computes = False

    @cached_property
    def options(self) -> Options:
        """What the user chose."""
        return read_options(self.config)

    @cached_property
    def cache(self) -> Cache | None:
        """The measurements on disk; None where nobody asked for them."""
        if self.options.cache is None:
            return None
        from pytest_interp.cache.store import Cache

        return Cache.at(self.config.invocation_params.dir / self.options.cache)

    @cached_property
    def selection(self) -> Selection:
        """Which checkpoints claims run on."""
        from pytest_interp.plugin.selection import Selection

        return Selection(self.config, self.options)

    def load(self, target: Target) -> Checkpoint:
        """The checkpoint of a target, loaded at the first call, with the target's circuit and BOS choice.

        Raises:
            pytest.skip.Exception: its weights cannot be had, without ``--interp-strict``.
            UsageError: what was named is no model, or its circuit names a head that it has not.
            Unavailable: its weights cannot be had, with ``--interp-strict``.
        """
        from pytest_interp.ledger.outcome import NOT_CHECKED

        name = target.spec.name
        if name not in self._checkpoints and target.missing:
            raise Unavailable(f"{name}: {target.missing}")  # with --interp-strict; else the claim is skipped
        if name not in self._checkpoints:
            self._make_room()
            _share_threads()
            try:
                with activity(f"loading {name}"):
                    self._checkpoints[name] = self._open(target)
            except (UsageError, Unavailable) as error:
                # Asked once: a hub that is out of reach takes half a minute to say so, a large model as long to load.
                self._checkpoints[name] = error
        checkpoint = self._checkpoints[name]
        if isinstance(checkpoint, Unavailable) and not self.options.strict:
            pytest.skip(f"{NOT_CHECKED}{name}: {checkpoint}")
        if isinstance(checkpoint, InterpError):
            # Another one each time: a traceback that grows would hold frames.
            raise type(checkpoint)(str(checkpoint))
        self.assign(checkpoint, target)
        for head in sorted(target.circuit.listed) if target.circuit else ():
            checkpoint.check_head(head)
        return checkpoint

    def loaded(self, name: str) -> Checkpoint | None:
        """The checkpoint of that name, where a claim has had it loaded."""
        checkpoint = self._checkpoints.get(name)
        return None if isinstance(checkpoint, InterpError) else checkpoint

    def assign(self, checkpoint: Checkpoint, target: Target) -> None:
        """Sets which circuit is asserted on a checkpoint, and its BOS choice."""
        checkpoint.claimed(target.circuit, bos=self._bos(target))

    def _make_room(self) -> None:
        """One large model at a time; the planted ones are small."""
        for name, other in list(self._checkpoints.items()):
            if not isinstance(other, InterpError) and other.spec.kind != "planted":
                del self._checkpoints[name]

    def _open(self, target: Target) -> Checkpoint:
        """The model, loaded and preflighted."""
        from pytest_interp.checkpoints.memo import bytes_of
        from pytest_interp.checkpoints.open import open_checkpoint
        from pytest_interp.plugin.arithmetic import choose_products

        if not self._computes:
            choose_products(self.config, self.options)
            self._computes = True
        model = open_checkpoint(target.spec, device=self.options.device, dtype=self.options.dtype)
        model.cache = self.cache
        if self.options.memory:
            model.budget = bytes_of(self.options.memory)
        return model

    def _bos(self, target: Target) -> bool | None:
        """Heads are claimed with the BOS choice that they were found with, unless the user says otherwise.

        None for that of the checkpoint's own tokenizer.
        """
        if self.options.bos is not None:
            return self.options.bos == "yes"
        if target.circuit is not None and target.circuit.bos is not None:
            return target.circuit.bos
        return target.spec.bos


def _share_threads() -> None:
    """Under pytest-xdist every worker has a model: the cores are shared out among them."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        import torch

        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))


_session = pytest.StashKey[Session]()


def session_of(config: pytest.Config) -> Session:
    """The session of a run, one for each config."""
    if _session not in config.stash:
        config.stash[_session] = Session(config)
    return config.stash[_session]
