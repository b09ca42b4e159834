"""``--interp-ledger FOLDER/``: a ledger for each checkpoint; a later run goes on where an earlier one ended.

1. Before the run the ledgers of the folder are read. All have to be of runs with the same options and versions.
2. A claim that has a verdict there is *replayed*: its reports are those of the earlier run, so that the table, the exit
   status and the ledger are those of one long run. No model is loaded for it.
3. A claim is measured again where it ended in an error, was not checked, or where its code, its circuit file or the
   files of the weights have changed since.
4. The ledger of a checkpoint is written as soon as its last claim has ended, and however the run ends.

Under pytest-xdist the workers replay, and the controller writes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_interp.common.compat import syrupy_session, tear_down
from pytest_interp.errors import UsageError
from pytest_interp.ledger.outcome import ClaimOutcome, Finding, carry
from pytest_interp.plugin.deselection import plan_of
from pytest_interp.plugin.ledger_writer import LastPlugin
from pytest_interp.plugin.session import session_of
from pytest_interp.text import counted

if TYPE_CHECKING:
    from pytest_interp.ledger.ledger import Ledger
    from pytest_interp.plugin.ledger_writer import LedgerWriter
    from pytest_interp.plugin.selection import Target

NOT_FINAL: tuple[Finding | None, ...] = (None, "error", "not checked")
"""Findings with which a claim is measured again."""


class LedgerFolder(LastPlugin):
    """A plugin that replays claims from the ledgers of a folder, and writes a ledger for each checkpoint.

    Attributes:
        path: of the folder.
        config: of the run.
        writer: has the outcomes of the run, and writes no file of its own.
        earlier: the ledgers that were there, by file.
        replayed: the outcomes of claims that are not measured again, by node id.
    """

    def __init__(self, path: Path, config: pytest.Config, writer: LedgerWriter) -> None:
        """Reads the ledgers.

        Raises:
            UsageError: a file of the folder is no ledger, or was written with other options or versions.
        """
        self.path, self.config, self.writer = path.resolve(), config, writer
        self.earlier: dict[Path, Ledger] = {}
        self.replayed: dict[str, ClaimOutcome] = {}
        self._reported: set[str] = set()
        self._began: dict[str, float] = {}
        self._written: dict[str, bool] = {}
        self._waiting: dict[str, set[str]] = {}
        if config.option.collectonly:
            return
        from pytest_interp.common.files import check_writable
        from pytest_interp.ledger.ledger import read

        check_writable(self.path / "NAME.json", "--interp-ledger")
        for file in sorted(self.path.glob("*.json")):
            if not file.name.endswith(".partial.json"):
                self.earlier[file] = ledger = read(file)
                if differing := self._differing(ledger):
                    raise UsageError(f"{file} is of another run: {differing}; pass another folder, or delete it")

    def file(self, checkpoint: str) -> Path:
        """Returns the path of a checkpoint's ledger.

        Args:
            checkpoint: its name; characters that not every file system has in names are replaced by ``-``.
        """
        return self.path / (re.sub(r"[^\w.@+=-]", "-", checkpoint) + ".json")

    def _differing(self, ledger: Ledger) -> str:
        """Returns what makes a ledger and this run no parts of one run; an empty text for parts of one."""
        from pytest_interp.ledger.merging import differing

        options = session_of(self.config).options
        now = replace(self.writer.ledger(self.config).run, has_prompts=not options.no_prompts)
        texts = [differing(ledger.run, now)] if differing(ledger.run, now) else []
        flags = [" ".join(_of_numbers(run.flags)) or "no options" for run in (ledger.run, now)]
        texts += [f"{flags[0]} there, {flags[1]} here"] if flags[0] != flags[1] else []
        return "; ".join(texts).replace("in the first", "there").replace("in the second", "here")

    # ---- replay

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Notes which claims need not be measured again."""
        if getattr(self.config.option, "update_snapshots", False):
            return
        final: dict[str, dict[str, ClaimOutcome]] = {}
        for item in session.items:
            name = plan_of(self.config).claims.get(item.nodeid, "")
            ledger = self.earlier.get(self.file(name))
            if not name or ledger is None:
                continue
            if name not in final:
                final[name] = self._final(name, item.callspec.params["checkpoint"], ledger)  # type: ignore[attr-defined]
            outcome = final[name].get(item.nodeid)
            if outcome is not None and _has_same_code(item, outcome):
                self.replayed[item.nodeid] = outcome

    def _final(self, name: str, target: Target, ledger: Ledger) -> dict[str, ClaimOutcome]:
        """Returns the outcomes of a ledger that need not be measured again, by node id."""
        words = session_of(self.config).words
        if reason := _changed(target, ledger, words.summary if words else ""):
            self.writer.messages.append(f"{name} is measured again: {reason} since its ledger was begun")
            return {}
        return {claim.claim.id: claim for claim in ledger.claims if claim.finding not in NOT_FINAL}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Reports a claim as it ended in the earlier run, and does not run it."""
        outcome = self.replayed.get(item.nodeid)
        if outcome is None:
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for when in ("setup", "call", "teardown"):
            if when != "call" or outcome.when == "call":
                item.ihook.pytest_runtest_logreport(report=_report(item, outcome, when))
        if (syrupy := syrupy_session(self.config)) is not None:
            syrupy.ran_item(item.nodeid, "skipped")  # so that its snapshot does not count as unused
        tear_down(item, nextitem)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    # ---- write

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Writes the ledger of a checkpoint when its last claim has ended."""
        name = plan_of(self.config).claims.get(report.nodeid)
        if name is None or hasattr(self.config, "workerinput"):
            return
        if not self._waiting:
            for claim, checkpoint in plan_of(self.config).claims.items():
                self._waiting.setdefault(checkpoint, set()).add(claim)
        self._began.setdefault(name, time.monotonic())
        if getattr(report, "interp_replayed", False):
            self._reported.add(report.nodeid)
            # What the earlier run knew of the checkpoint: a comparison in this run needs it, and no model is loaded.
            for recorded in self.earlier[self.file(name)].of(name).checkpoints:
                known = self.writer.checkpoints.get(name, recorded)
                self.writer.checkpoints[name] = known.joined(recorded)
        if report.when == "teardown":
            self._waiting[name].discard(report.nodeid)
            if not self._waiting[name]:
                self._write(name)

    def finish(self, session: pytest.Session) -> None:
        """Writes the ledgers of checkpoints whose claims have not all ended; fails the run where it cannot."""
        if self.config.option.collectonly or hasattr(self.config, "workerinput"):
            return
        plan = plan_of(self.config).claims  # of workers on another machine it is known only now
        judged = {plan[claim] for claim in self.writer.claims if claim in plan}
        for name in sorted(judged - self._written.keys()):
            self._write(name)
        if count := len(self._reported):
            self.writer.messages.append(f"{counted(count, 'claim')} read from {self.path}, not measured again")
        if not all(self._written.values()) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _write(self, name: str) -> None:
        """Writes the ledger of a checkpoint, and notes whether that went well."""
        from pytest_interp.ledger.json_file import save
        from pytest_interp.ledger.redaction import without_prompts

        ledger, self._written[name] = self._ledger(name), False
        if session_of(self.config).options.no_prompts:
            ledger = without_prompts(ledger)
        try:
            path = save(self.file(name), ledger)
        except OSError as error:
            self.writer.messages.append(f"records not written to {self.file(name)}: {error.strerror}")
            return
        if len(_fingerprints(ledger.claims)) > 1:
            text = f"{path} has claims on other weights, read from the ledger that was there; delete it, and run again"
            self.writer.messages.append(text)
            return
        self._written[name] = True
        total = ledger.run.collected
        ended = "" if ledger.run.is_complete else f"{ledger.run.ended} of "
        self.writer.messages.append(f"records of {ended}{counted(total, 'claim')}: {path}")

    def _ledger(self, name: str) -> Ledger:
        """Returns what is known of a checkpoint: what ended in this run, and of earlier ones what it has not judged.

        Earlier outcomes on other weights are left out.
        """
        from pytest_interp.ledger.ledger import Ledger
        from pytest_interp.ledger.merging import joined

        now, earlier = self.writer.ledger(self.config), self.earlier.get(self.file(name))
        planned = {claim for claim, other in plan_of(self.config).claims.items() if other == name}
        claims = {claim.claim.id: claim for claim in now.claims if claim.claim.id in planned}
        before = () if earlier is None else tuple(claim for claim in earlier.claims if claim.claim.id not in claims)
        if len(_fingerprints([*claims.values(), *before])) > 1:
            before = ()
        claims = {claim.claim.id: claim for claim in before} | claims
        checkpoints = [checkpoint for checkpoint in now.checkpoints if checkpoint.name == name]
        seconds = time.monotonic() - self._began[name] if name in self._began else now.run.seconds
        run = replace(
            now.run,
            seconds=round(seconds + (earlier.run.seconds if earlier and before else 0), 3),
            ended=len(claims),
            collected=max(len(planned | claims.keys()), earlier.run.collected if earlier else 0),
            not_run=tuple(claims for claims in now.run.not_run if claims.checkpoint == name),
        )
        if earlier is not None and (before or self._reported & claims.keys()):
            run = replace(run, started=earlier.run.started)
        ledger = Ledger(run, tuple(claims.values()), tuple(checkpoints))
        return ledger if earlier is None else replace(ledger, checkpoints=joined([ledger, earlier]))


def _report(item: pytest.Item, outcome: ClaimOutcome, when: Any) -> pytest.TestReport:
    """Returns the report of one phase of a claim as it ended in an earlier run."""
    now = outcome if when == outcome.when else replace(outcome, outcome="passed", when=when, reason="")
    words: dict[str, Any] = {"failed": "failed", "skipped": "skipped", "xfailed": "skipped"}
    text: Any = None
    if now.outcome == "failed":
        text = f"{now.reason}\n\n(read from the ledger of an earlier run, not measured again)"
    elif now.outcome in words:
        text = (str(item.path), (item.location[1] or 0) + 1, now.reason)
    report = pytest.TestReport(
        item.nodeid, item.location, dict.fromkeys(item.keywords, 1), words.get(now.outcome, "passed"), text, when
    )
    if now.outcome == "xfailed":
        report.wasxfail = now.reason
    carry(report, now, outcome)
    report.interp_replayed = True  # type: ignore[attr-defined]
    return report


def _of_numbers(flags: tuple[str, ...]) -> list[str]:
    """Returns the options of a run that its numbers and findings depend on."""
    names = ("circuit", "device", "dtype", "tf32", "seed", "prompts", "bos", "falsify", "noise")
    numbers: list[str] = []
    matters = False
    for flag in flags:  # the value of an option follows it
        if flag.startswith("--interp-"):
            matters = flag.removeprefix("--interp-").partition("=")[0] in names
        numbers += [flag] if matters else []
    return numbers


def _changed(target: Target, ledger: Ledger, words: str) -> str:
    """Returns what has changed of a checkpoint since its ledger was begun; an empty text where nothing is known."""
    contexts = [record.context.checkpoint for claim in ledger.claims for record in claim.records]
    if any(context is not None and context.words != words for context in contexts):
        return "the words that it shares with other checkpoints have changed"
    begun = datetime.fromisoformat(ledger.run.started).timestamp()
    if target.spec.kind in ("directory", "gguf"):
        source = Path(target.spec.source)
        files = [source] if source.is_file() else [*source.glob("*.safetensors"), *source.glob("*.json")]
        # A time of the ledger has whole seconds.
        if any(path.stat().st_mtime >= begun + 1 for path in files):
            return "files of its weights have changed"
    circuits = {checkpoint.circuit for checkpoint in ledger.checkpoints if checkpoint.name == target.spec.name}
    file = Path(target.circuit.path) if target.circuit is not None and target.circuit.path else None
    text = file.read_text(encoding="utf-8") if file is not None and file.is_file() else ""
    return "its circuit file has changed" if any(circuit not in ("", text) for circuit in circuits) else ""


def _has_same_code(item: pytest.Item, outcome: ClaimOutcome) -> bool:
    """Whether a claim's code is that of an outcome; so it is where a ledger without texts does not have the code."""
    from pytest_interp.plugin.claim_marker import recorded

    return outcome.claim.code in ("", recorded(item).code)


def _fingerprints(claims: Iterable[ClaimOutcome]) -> set[str]:
    """Returns the fingerprints of a checkpoint's weights that verdicts were given on."""
    contexts = ((claim.checkpoint, record.context.checkpoint) for claim in claims for record in claim.records)
    return {context.fingerprint for name, context in contexts if context is not None and context.name == name}
