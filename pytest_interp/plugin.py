"""The pytest plugin: options, marker, fixtures, and what runs around each claim.

pytest imports this module in every project of the environment, so it imports pytest and the standard library
only; torch and the rest come in inside fixtures, on first use.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_interp.selection import Selection

_selection = pytest.StashKey["Selection"]()
PROPERTY = "interp"


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declares the hook through which a project brings in its own checkpoints."""
    from pytest_interp import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares options and ini keys."""
    from pytest_interp.options import add_options

    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marker and the fixtures; refuses what cannot work."""
    from pytest_interp import fixtures

    config.addinivalue_line(
        "markers",
        "claim(source, role=None, checkpoints=(), cls=None): a finding about a language model; runs on every "
        "checkpoint with a circuit file. source: paper and section. role: whose heads the fixtures head and heads are. "
        "checkpoints: the only ones it is about. cls: class of a published figure (A, B, C, D)",
    )
    config.pluginmanager.register(fixtures, "pytest_interp_fixtures")
    fixtures.options_of(config)
    updating = getattr(config.option, "update_snapshots", False)
    if updating and (getattr(config.option, "numprocesses", None) or hasattr(config, "workerinput")):
        raise pytest.UsageError(
            "--snapshot-update does not go with -n: workers would overwrite each other; leave out -n"
        )


def _selection_of(config: pytest.Config) -> Selection:
    from pytest_interp.fixtures import options_of
    from pytest_interp.selection import Selection

    if _selection not in config.stash:
        config.stash[_selection] = Selection(config, options_of(config))
    return config.stash[_selection]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives each claim its checkpoints and heads."""
    if metafunc.definition.get_closest_marker("claim") is None:
        return
    from pytest_interp.errors import UsageError
    from pytest_interp.selection import claim_of, parametrize

    try:
        claim = claim_of(metafunc.definition)
        if claim is not None and "checkpoint" in metafunc.fixturenames:
            parametrize(metafunc, claim, _selection_of(metafunc.config))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Orders claims by checkpoint, so that each model is loaded once; everything else stays where it is."""
    places = [i for i, item in enumerate(items) if _target_name(item)]
    if not places:
        return
    order = {name: rank for rank, name in enumerate(dict.fromkeys(_target_name(items[i]) for i in places))}
    claims = sorted((items[i] for i in places), key=lambda item: order[_target_name(item)])
    for place, item in zip(places, claims, strict=True):
        items[place] = item


def _target_name(item: pytest.Item) -> str:
    params = getattr(getattr(item, "callspec", None), "params", {})
    spec = getattr(params.get("checkpoint"), "spec", None)
    return "" if spec is None else str(spec.name)


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Says what is judged; silent where no claim is collected."""
    counts: dict[str, int] = {}
    for item in items:
        if (name := _target_name(item)) and item.get_closest_marker("skip") is None:
            counts[name] = counts.get(name, 0) + 1
    if not any(_target_name(item) for item in items):
        return []
    from importlib.metadata import version

    from pytest_interp.fixtures import options_of

    options = options_of(config)
    judged = ", ".join(f"{name} ({count} claims)" for name, count in counts.items()) or "nothing: no weights here"
    versions = ", ".join(f"{name} {version(name)}" for name in ("transformer-lens", "transformers", "torch"))
    return [
        f"interp: {judged}",
        f"interp: {options.interp_dtype} on {options.interp_device}, seed {options.interp_seed}, "
        f"{options.interp_prompts} prompts; {versions}",
    ]


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Around a claim's body: collects its records, guards the model, compares with the snapshot."""
    if pyfuncitem.get_closest_marker("claim") is None:
        return (yield)
    __tracebackhide__ = True
    from pytest_interp import ledger
    from pytest_interp.comparison import Comparison
    from pytest_interp.errors import ClaimFailed, NotApplicable, UsageError
    from pytest_interp.selection import NOT_APPLICABLE

    checkpoint: Any = pyfuncitem.funcargs.get("checkpoint")
    try:
        comparison = Comparison(pyfuncitem)
    except UsageError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    outcome: dict[str, Any] = {"checkpoint": getattr(checkpoint, "name", "no checkpoint"), "snapshot": None}
    pyfuncitem.user_properties.append((PROPERTY, outcome))
    with ledger.collecting() as records:
        try:
            result = yield
        except BaseException as error:
            comparison.keep()
            if left := _restore(checkpoint):
                error.add_note(left)
            if isinstance(error, NotApplicable):
                pytest.skip(f"{NOT_APPLICABLE}{error}")
            raise
        finally:
            outcome["records"] = ledger.worst_of(records) if comparison.drawn else records
            _describe(pyfuncitem, outcome["records"])
    complaint = _restore(checkpoint)
    if complaint:
        comparison.keep()
    elif outcome["records"] and checkpoint is not None:
        known = checkpoint.circuit is not None and checkpoint.circuit.fingerprint == checkpoint.fingerprint
        outcome["snapshot"] = "differs"
        try:
            outcome["snapshot"] = comparison.compare(outcome["records"], checkpoint.fingerprint, known=known)
        except ClaimFailed as error:
            complaint = str(error)
    if complaint:
        pytest.fail(complaint, pytrace=False)
    return result


def _restore(checkpoint: Any) -> str:
    """Loads the model anew where a claim left hooks or changed weights behind, and says so; empty where it did not."""
    if checkpoint is None or not (left := checkpoint.disturbed()):
        return ""
    checkpoint.load()
    return f"the claim left {' and '.join(left)} on {checkpoint.name}; the model was loaded anew"


def _describe(item: pytest.Function, records: list[dict[str, Any]]) -> None:
    """A report section with the statement, its source, and what the numbers were measured on."""
    from pytest_interp.report.terminal import describe
    from pytest_interp.selection import claim_of

    claim = claim_of(item)
    if claim is not None:
        item.add_report_section("call", "claim", describe(item.obj.__doc__, claim.source, records))


def _is_claim(report: Any) -> bool:
    skipped = report.skipped and isinstance(report.longrepr, tuple)
    return (skipped and "not checked: " in report.longrepr[2]) or any(
        key == PROPERTY for key, _ in getattr(report, "user_properties", ())
    )


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What was checked, by checkpoint; what was not, with the command that would."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports if hasattr(report, "when")]
    if not any(_is_claim(report) for report in reports):
        return
    from pytest_interp.report.terminal import summarise

    lines = summarise(reports, verbose=terminalreporter.verbosity > 0)
    if lines:
        terminalreporter.section("findings")
        for line in lines:
            terminalreporter.write_line(line.text, **line.markup)
