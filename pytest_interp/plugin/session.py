"""Session: the state of one run of pytest (options, plan, loaded checkpoints), under one key of the config's stash."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import pytest

from pytest_interp.common.progress import activity
from pytest_interp.errors import InterpError, Unavailable, UsageError
from pytest_interp.ledger.outcome import NOT_CHECKED
from pytest_interp.plugin.options import Options, read_options

if TYPE_CHECKING:
    from pytest_interp.cache.store import Cache
    from pytest_interp.checkpoints.checkpoint import Checkpoint
    from pytest_interp.ledger.ledger import Ledger, NotRun
    from pytest_interp.plugin.selection import Selection, Target
    from pytest_interp.tasks.shared_words import SharedWords


@dataclass(frozen=True)
class Plan:
    """The claims that a run judges and those that it leaves out, in builtin types.

    Attributes:
        claims: the name of the checkpoint of each claim that runs, by node id.
        left_out: checkpoint and reason of each claim that was deselected.
    """

    claims: Mapping[str, str]
    left_out: Sequence[Sequence[str]] = ()

    @property
    def unchecked(self) -> list[tuple[str, str]]:
        """Checkpoint and reason of each claim that was deselected because its weights are not here."""
        # "not checked: NAME: REASON": a reader has the name already.
        return [(name, reason.split(": ", 2)[-1]) for name, reason in self.left_out if reason.startswith(NOT_CHECKED)]

    @property
    def deselected(self) -> Mapping[str, int]:
        """The number of claims that were deselected, by reason."""
        return Counter("not checked" if reason.startswith(NOT_CHECKED) else reason for _, reason in self.left_out)

    @property
    def not_run(self) -> tuple[NotRun, ...]:
        """The claims that were deselected, by checkpoint and reason, as a ledger has them."""
        from pytest_interp.ledger.ledger import NotRun

        counts = Counter((name, reason.split(": ", 2)[-1]) for name, reason in self.left_out)
        return tuple(NotRun(*key, count) for key, count in counts.items())


class Session:
    """The state of one run.

    Attributes:
        config: of the run.
        plan: the claims that run and those that do not; None before collection has ended.
        deselected: the claims that were deselected; None before collection has ended.
        refusal: the message of bad input in the file that is being collected; empty without.
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
        """The options, from the command line and the ini file."""
        return read_options(self.config)

    @cached_property
    def cache(self) -> Cache | None:
        """The measurements on disk; None without ``--interp-cache``."""
        if self.options.cache is None:
            return None
        from pytest_interp.cache.store import Cache

        return Cache.at(self.config.invocation_params.dir / self.options.cache)

    @cached_property
    def baseline(self) -> Ledger | None:
        """The ledger of the baseline; None where it is a checkpoint of this run, and without ``--interp-baseline``.

        Raises:
            UsageError: the file is no ledger.
        """
        if not (self.options.baseline or "").endswith(".json"):
            return None
        from pytest_interp.ledger.ledger import read

        return read(self.config.invocation_params.dir / str(self.options.baseline))

    @cached_property
    def selection(self) -> Selection:
        """The checkpoints that claims run on."""
        from pytest_interp.plugin.selection import Selection

        return Selection(self.config, self.options, self.baseline)

    @cached_property
    def words(self) -> SharedWords | None:
        """The words that all checkpoints share which a run compares; None where they have one tokenizer.

        A ledger as baseline has no tokenizer to share words with.
        """
        if self.selection.baseline is None or self.baseline is not None:
            return None
        from pytest_interp.checkpoints.tokenizers import shared_words

        return shared_words(self.selection.requested)

    def load(self, target: Target) -> Checkpoint:
        """Returns the checkpoint of a target, with the target's circuit and BOS choice; the first call loads it.

        Args:
            target: what a claim runs on.

        Returns:
            The checkpoint; the same one for all targets of its name.

        Raises:
            pytest.skip.Exception: its weights cannot be had, without ``--interp-strict``.
            UsageError: it is no model, or its circuit names a head that the model does not have.
            Unavailable: its weights cannot be had, with ``--interp-strict``.
        """
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
                # Kept, so that it is tried once: a hub that is out of reach takes half a minute to fail.
                self._checkpoints[name] = error
        checkpoint = self._checkpoints[name]
        if isinstance(checkpoint, Unavailable) and not self.options.strict:
            pytest.skip(f"{NOT_CHECKED}{name}: {checkpoint}")
        if isinstance(checkpoint, InterpError):
            # A new error each time: the traceback of one that is raised again grows, and its frames hold tensors.
            raise type(checkpoint)(str(checkpoint))
        self.assign(checkpoint, target)
        for head in sorted(target.circuit.listed) if target.circuit else ():
            checkpoint.check_head(head)
        return checkpoint

    def loaded(self, name: str) -> Checkpoint | None:
        """Returns a checkpoint that was loaded already.

        Args:
            name: of the checkpoint.

        Returns:
            The checkpoint; None where no claim has needed it yet, or where it could not be loaded.
        """
        checkpoint = self._checkpoints.get(name)
        return None if isinstance(checkpoint, InterpError) else checkpoint

    def assign(self, checkpoint: Checkpoint, target: Target) -> None:
        """Sets the circuit that is asserted on a checkpoint, and its BOS choice.

        Args:
            checkpoint: the model.
            target: what the next claim runs on.
        """
        checkpoint.claimed(target.circuit, bos=self._bos(target))

    def _make_room(self) -> None:
        """Drops every loaded checkpoint but planted ones, which are small: memory may not hold two large models."""
        for name, other in list(self._checkpoints.items()):
            if not isinstance(other, InterpError) and other.spec.kind != "planted":
                del self._checkpoints[name]

    def _open(self, target: Target) -> Checkpoint:
        """Loads the model of a target, checks it, and gives it the run's cache and memory budget."""
        from pytest_interp.checkpoints.memo import bytes_of
        from pytest_interp.checkpoints.open import open_checkpoint
        from pytest_interp.plugin.arithmetic import choose_products

        if not self._computes:
            choose_products(self.config, self.options)
            self._computes = True
        spec = replace(target.spec, words=self.words)
        if self.options.n_devices > 1:
            spec = replace(spec, n_devices=self.options.n_devices)
        model = open_checkpoint(spec, device=self.options.device, dtype=self.options.dtype)
        model.cache = self.cache
        if self.options.memory:
            model.budget = bytes_of(self.options.memory)
        if (workers := _workers()) > 1:
            model.guard.share_memory(workers)
        return model

    def _bos(self, target: Target) -> bool | None:
        """Returns whether prompts begin with BOS; None for the choice of the checkpoint's own tokenizer.

        The user's choice comes first, then that of the circuit file, since its heads were found with it.
        """
        if self.options.bos is not None:
            return self.options.bos == "yes"
        if target.circuit is not None and target.circuit.bos is not None:
            return target.circuit.bos
        return target.spec.bos


def _workers() -> int:
    """The number of pytest-xdist's workers, each of which runs its own model; 1 without them."""
    return int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def _share_threads() -> None:
    """Gives each worker its share of the cores."""
    if (workers := _workers()) > 1:
        import torch

        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))


_session = pytest.StashKey[Session]()


def session_of(config: pytest.Config) -> Session:
    """Returns the session of a run; the first call makes it.

    Args:
        config: of the run.

    Returns:
        The same session at every call with this config.
    """
    if _session not in config.stash:
        config.stash[_session] = Session(config)
    return config.stash[_session]
