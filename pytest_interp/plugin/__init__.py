"""The pytest plugin: options, marker, fixtures, selection, the closing table.

pytest imports this module in every project of the environment, so it imports pytest and the standard library
only; torch and the rest come in inside fixtures, on first use.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_interp.ledger.outcome import carried
from pytest_interp.plugin.deselection import obstacle, plan_of, target_name
from pytest_interp.plugin.session import session_of
from pytest_interp.text import counted

if TYPE_CHECKING:
    from pytest_interp.plugin.options import Options


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declares the hook through which a project adds its own checkpoints."""
    from pytest_interp.plugin import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares the command-line options and ini keys."""
    from pytest_interp.plugin.options import add_options

    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Restores the rootdir where pytest took the value of one of this plugin's options for a path to collect."""
    from pytest_interp.plugin.rootdir import restore

    restore(early_config, parser, args)


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marker, registers fixtures and hooks, and refuses options that cannot work."""
    from pytest_interp.plugin import collection_errors, deselection, fixtures, runtest

    config.addinivalue_line(
        "markers",
        "claim(source, role=None, checkpoints=(), evidence=None, finding=(), quick=False): a finding about a language "
        "model; it runs on every checkpoint with a circuit file. source: paper and section. role: the role of the "
        "fixtures head and heads. checkpoints: the only checkpoints it runs on. evidence: class of a published figure "
        "(A, B, C, D). finding: rows of a list of documented findings. quick: whether --interp-quick runs it",
    )
    config.pluginmanager.register(fixtures, "pytest_interp_fixtures")
    config.pluginmanager.register(runtest, "pytest_interp_around")
    config.pluginmanager.register(collection_errors, "pytest_interp_refusals")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(collection_errors.Refusals(), "pytest_interp_refused")
    config.pluginmanager.register(deselection, "pytest_interp_deselection")
    options = session_of(config).options
    _prepare_files(config, options)
    updating = getattr(config.option, "update_snapshots", False)
    if updating and (getattr(config.option, "numprocesses", None) or hasattr(config, "workerinput")):
        raise pytest.UsageError(
            "--snapshot-update does not go with -n: workers would overwrite each other; leave out -n"
        )


def _prepare_files(config: pytest.Config, options: Options) -> None:
    """Registers the ledger, and refuses a ledger, page or cache that could not be written, before any claim runs."""
    from pytest_interp.errors import UsageError
    from pytest_interp.plugin.ledger_writer import LedgerWriter

    folder, worker = config.invocation_params.dir, hasattr(config, "workerinput")
    records = folder / options.ledger if options.ledger else None
    in_folder = records is not None and (str(options.ledger).endswith("/") or records.is_dir())
    collector = None
    if options.profile and not (options.ledger or options.page or options.baseline):
        raise pytest.UsageError(
            "--interp-profile is written into the ledger and the page, and compared with a baseline's: pass "
            "--interp-ledger FILE, --interp-page FILE or --interp-baseline MODEL"
        )
    if options.ledger or options.page or options.baseline:
        from pytest_interp.plugin.ledger_checkpoint import Collector

        collector = Collector(patterns=bool(options.ledger or options.page))
    writer = LedgerWriter(None if worker or in_folder else records, collector)
    config.pluginmanager.register(writer, "pytest_interp_ledger")
    try:
        if records and in_folder:
            from pytest_interp.plugin.ledger_folder import LedgerFolder

            config.pluginmanager.register(LedgerFolder(records, config, writer), "pytest_interp_ledger_folder")
        elif records and not worker:
            from pytest_interp.ledger.json_file import check_path

            check_path(records)
        if options.page and not worker:
            from pytest_interp.plugin.page_writer import PageWriter

            config.pluginmanager.register(PageWriter(folder / options.page, writer), "pytest_interp_page")
        if options.against and not worker:
            from pytest_interp.plugin.against import Against

            if getattr(config.option, "update_snapshots", False):
                raise UsageError("--snapshot-update does not go with --interp-against: pass one of them")
            config.pluginmanager.register(Against(folder / options.against, writer), "pytest_interp_against")
        if options.baseline and not worker:
            from pytest_interp.plugin.baseline import Baseline

            config.pluginmanager.register(
                Baseline(options.baseline, session_of(config).baseline, writer), "pytest_interp_baseline"
            )
        if options.cache and not worker:
            from pytest_interp.common.files import check_cache

            with suppress(OSError):  # the run goes on without a cache, and its summary says so
                check_cache(folder / options.cache)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(tryfirst=True)
def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Lets pytest collect installed claims that the command line names, although it passes over environments."""
    paths = [arg.partition("::")[0] for arg in config.args]
    claims_folder = Path(__file__).parents[1] / "claims"
    if any(path.startswith("pytest_interp.claims") for path in paths):
        paths.append(str(claims_folder))
    if not any(Path(path).is_absolute() and Path(path).is_relative_to(claims_folder) for path in paths):
        return None
    return False if claims_folder.is_relative_to(collection_path) else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrises each claim by its checkpoints and heads."""
    if metafunc.definition.get_closest_marker("claim") is None:
        return
    from pytest_interp.errors import UsageError
    from pytest_interp.plugin.claim_marker import claim_of
    from pytest_interp.plugin.collection_errors import refuse
    from pytest_interp.plugin.selection import parametrize

    try:
        claim = claim_of(metafunc.definition)
        if claim is not None and "checkpoint" in metafunc.fixturenames:
            parametrize(metafunc, claim, session_of(metafunc.config).selection)
    except UsageError as error:
        raise refuse(metafunc.config, error) from None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Orders claims by checkpoint, so that each model is loaded once; other tests keep their places."""
    for item in items:
        if type(item).__name__ == "TestCaseFunction" and item.get_closest_marker("claim") is not None:
            raise pytest.UsageError(f"{item.nodeid}: a claim is a function or method of a plain class, not a TestCase")
    places = [i for i, item in enumerate(items) if target_name(item)]
    if not places:
        return
    order = {name: rank for rank, name in enumerate(dict.fromkeys(target_name(items[i]) for i in places))}
    # Claims that cannot run come last, unless pytest only lists them. Then the order is by checkpoint, and within it
    # that of the files, which pytest's own ordering by parameter has undone.
    runs = not config.option.collectonly
    claims = sorted(
        (items[i] for i in places),
        key=lambda item: (
            runs and bool(obstacle(item)),
            order[target_name(item)],
            item.location[0],
            item.location[1] or 0,
        ),
    )
    for place, item in zip(places, claims, strict=True):
        items[place] = item


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Registers the stopwatch and the progress line, or in a worker chooses its GPU, if there are claims to run."""
    if not hasattr(session.config, "workerinput"):
        _watch(session.config)
    elif plan_of(session.config).claims:
        _choose_devices(session.config)


@pytest.hookimpl(trylast=True, optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any) -> None:
    """Registers the same in the controller of pytest-xdist, where the workers collect."""
    _watch(node.config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Returns a scheduler that keeps the claims of a checkpoint together; None where the user chose a ``--dist``."""
    chosen = config.known_args_namespace.dist != "no" or config.option.distload
    if chosen or config.option.dist != "load":
        return None
    from pytest_interp.plugin.workers import ByCheckpoint

    return ByCheckpoint(config, log)


def _choose_devices(config: Any) -> None:
    """Makes only its own GPU visible to a worker of pytest-xdist, unless ``--interp-device`` names one."""
    options = session_of(config).options
    if options.device in ("auto", "cuda"):
        from pytest_interp.machines.visible_devices import narrow

        narrow(int(config.workerinput["workerid"].removeprefix("gw")), options.n_devices)


def _watch(config: pytest.Config) -> None:
    """Registers the stopwatch and the progress line once, if there are claims to run."""
    if not plan_of(config).claims or config.pluginmanager.has_plugin("pytest_interp_live"):
        return
    from pytest_interp.plugin.live import Live
    from pytest_interp.plugin.pace import Stopwatch

    config.pluginmanager.register(Stopwatch(config), "pytest_interp_stopwatch")
    config.pluginmanager.register(Live(config), "pytest_interp_live")


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Returns the lines about what is judged; none with -qq or without claims. pytest-xdist has them at the end."""
    counts: dict[str, int] = {}
    for item in items:
        if (name := target_name(item)) and item.get_closest_marker("skip") is None:
            counts[name] = counts.get(name, 0) + 1
    if config.get_verbosity() < -1 or not any(target_name(item) for item in items):
        return []
    from pytest_interp.plugin.pace import forecast
    from pytest_interp.report.layout import WIDTH
    from pytest_interp.text import wrapped

    judged = (
        ", ".join(f"{name} ({counted(count, 'claim')})" for name, count in counts.items()) or "nothing: no weights here"
    )
    texts = [judged]
    if deselected := plan_of(config).deselected:
        text = ", ".join(f"{count} {reason}" for reason, count in deselected.items())
        texts.append(f"deselected: {text} (-rs shows each)")
    lines = [part for text in [*texts, *_conditions(config)] for part in wrapped(text, WIDTH, "interp: ", " " * 8)]
    return lines if config.option.collectonly or not counts else [*lines, forecast(config)]


def _conditions(config: pytest.Config) -> list[str]:
    """Returns texts with the precision, device, seed, number of prompts and versions of a run."""
    from importlib.metadata import version

    from pytest_interp.plugin.arithmetic import computed_with

    options = session_of(config).options

    versions = ", ".join(f"{name} {version(name)}" for name in ("transformer-lens", "transformers", "torch"))
    precision = f"{options.dtype} on {options.device}"
    shared: list[str] = []
    if not config.option.collectonly:  # --collect-only must not import torch
        precision = computed_with(options)
        if words := session_of(config).words:
            shared = [f"words {words.summary}"]
    choices = f"{precision}, seed {options.seed}, {counted(options.prompts, 'prompt')}"
    return [choices, *shared, versions]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Sends the cache's counts of a worker to the controller of pytest-xdist."""
    config: Any = session.config
    if hasattr(config, "workeroutput"):
        cache = session_of(config).cache
        config.workeroutput["interp_cache"] = [cache.read, cache.measured, cache.disabled_reason] if cache else None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Adds the cache's counts of a worker to those of the controller."""
    cache, counts = session_of(node.config).cache, getattr(node, "workeroutput", {}).get("interp_cache")
    if cache and counts:
        cache.read, cache.measured = cache.read + counts[0], cache.measured + counts[1]
        cache.disabled_reason = cache.disabled_reason or counts[2]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Writes the closing tables: findings by checkpoint, claims that were not checked, mutants and noise."""
    ledger: Any = config.pluginmanager.get_plugin("pytest_interp_ledger")
    for message in ledger.messages:
        terminalreporter.write_line(f"interp: {message}")
    reports = [report for reports in terminalreporter.stats.values() for report in reports if hasattr(report, "when")]
    # pytest-rerunfailures reports each try; only the last one counts.
    carrying = [carried(report) for report in reports if report.outcome != "rerun"]
    outcomes = [outcome for outcome in carrying if outcome is not None]
    unchecked = plan_of(config).unchecked
    if not unchecked and not outcomes:
        return
    from pytest_interp.report.terminal import closing_sections, summarise

    lines = summarise(outcomes, verbose=terminalreporter.verbosity > 0, unchecked=unchecked)
    if lines:
        terminalreporter.section("findings")
        if getattr(config.option, "numprocesses", None):
            for text in _conditions(config):
                terminalreporter.write_line(f"interp: {text}")
        for line in lines:
            terminalreporter.write_line(line.text, **line.markup)
        if cache := session_of(config).cache:
            terminalreporter.write_line(f"interp: {cache.summary}")
    for title, texts in closing_sections(outcomes, verbose=terminalreporter.verbosity > 0).items():
        if texts:
            terminalreporter.section(title)
        for text in texts:
            terminalreporter.write_line(text)
