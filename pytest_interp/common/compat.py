"""Private names of pytest, hypothesis and syrupy that this package uses, each with its reason.

No other module uses any, so a version of a library that renames one breaks here only. The module stands below
``plugin/`` because ``rerun/`` and ``snapshots/`` need it too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest


def argument_names(item: pytest.Function) -> tuple[str, ...]:
    """The fixtures that a test's own function takes: ``fixturenames`` has those of its fixtures too."""
    return tuple(item._fixtureinfo.argnames)


def fixture_definitions(item: Any) -> Mapping[str, Sequence[Any]]:
    """The definitions of each fixture of a test: no public name says who defines a fixture, and with which scope."""
    definitions: Mapping[str, Sequence[Any]] = item._fixtureinfo.name2fixturedefs
    return definitions


def syrupy_session(config: pytest.Config) -> Any:
    """Syrupy's session, None with ``-p no:syrupy``: its ``snapshot`` fixture has it only in tests that ask for it."""
    return getattr(config, "_syrupy", None)


def terminal_file(reporter: Any) -> Any:
    """The file that pytest's terminal reporter writes to: the reporter has no public name for it."""
    return reporter._tw._file


def terminal_column(reporter: Any) -> int:
    """How many columns pytest has written of the current line: the reporter has no public name for it."""
    return int(reporter._tw.width_of_current_line)


@contextmanager
def without_database_and_shrinking(function: Callable[..., Any]) -> Iterator[None]:
    """A test under ``@given`` without database and shrinking; any other as it is.

    ``@settings`` cannot be applied to a test that has settings already, so those that Hypothesis keeps are replaced.
    """
    inner: Any = getattr(function, "__func__", function)
    chosen = getattr(inner, "_hypothesis_internal_use_settings", None)
    if chosen is None:
        yield
        return
    from hypothesis import Phase, settings

    phases = [phase for phase in (Phase.explicit, Phase.generate) if phase in chosen.phases]
    inner._hypothesis_internal_use_settings = settings(chosen, database=None, phases=phases)
    try:
        yield
    finally:
        inner._hypothesis_internal_use_settings = chosen


def configure_anew(config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Reads the configuration of the rootdir that the parsed command line gives; does nothing where it is the same.

    pytest determines the rootdir before it knows which options take a value, and has no public way to do it again.

    Args:
        config: as pytest has it before it loads conftest files.
        parser: knows the options of all plugins.
        args: the command line, ``addopts`` first; changed in place where the right ini file has others.

    Raises:
        AttributeError: this version of pytest has renamed what is used here.
    """
    from _pytest.config.findpaths import determine_setup

    added = config._validate_args(config.getini("addopts"), "via addopts config")
    given = args[len(added) :]
    known = parser.parse_known_args(given, namespace=copy.copy(config.option))
    root, ini, settings, ignored = determine_setup(
        inifile=known.inifilename,
        override_ini=known.override_ini,
        args=known.file_or_dir,
        rootdir_cmd_arg=known.rootdir or None,
        invocation_dir=config.invocation_params.dir,
    )
    if (root, ini) == (config.rootpath, config.inipath):
        return
    config._rootpath, config._inipath, config._ignored_config_files = root, ini, ignored
    setattr(config, "_inicfg" if hasattr(config, "_inicfg") else "inicfg", settings)  # pytest 9.2 has renamed it
    config._inicache.clear()
    parser.extra_info |= {"rootdir": str(root), "inifile": str(ini)}
    args[:] = [*config._validate_args(config.getini("addopts"), "via addopts config"), *given]
    config._checkversion()
    config._configure_python_path()
    config.pluginmanager.consider_preparse(args, exclude_only=False)
    config.known_args_namespace = parser.parse_known_args(args, namespace=copy.copy(config.option))
    config._validate_plugins()
    if config.known_args_namespace.confcutdir is None:
        config.known_args_namespace.confcutdir = str(root if ini is None else ini.parent)
