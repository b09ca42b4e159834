"""All private names of pytest, hypothesis and syrupy that this package uses, each with the reason.

If a new version of a library renames one, only this module breaks. It is in ``common/`` because ``rerun/`` and
``snapshots/`` use it as well as ``plugin/``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest


def argument_names(item: pytest.Function) -> tuple[str, ...]:
    """The fixtures that a test's function takes; pytest's ``fixturenames`` also has those that its fixtures take."""
    return tuple(item._fixtureinfo.argnames)


def fixture_definitions(item: Any) -> Mapping[str, Sequence[Any]]:
    """The definitions of each fixture of a test; no public name says where a fixture is defined, and its scope."""
    definitions: Mapping[str, Sequence[Any]] = item._fixtureinfo.name2fixturedefs
    return definitions


def syrupy_session(config: pytest.Config) -> Any:
    """Syrupy's session; None with ``-p no:syrupy``. Publicly, only tests that use the fixture ``snapshot`` have it."""
    return getattr(config, "_syrupy", None)


def tear_down(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Tears down what the next test does not need, after a test that was reported but not run.

    The public hook for it needs the state of a test that was set up.
    """
    item.session._setupstate.teardown_exact(nextitem)


def terminal_file(reporter: Any) -> Any:
    """The file that pytest's terminal reporter writes to; the reporter has no public name for it."""
    return reporter._tw._file


def terminal_column(reporter: Any) -> int:
    """The number of columns that pytest has written of the current line; the reporter has no public name for it."""
    return int(reporter._tw.width_of_current_line)


@contextmanager
def without_database_and_shrinking(function: Callable[..., Any]) -> Iterator[None]:
    """A context in which a test under ``@given`` uses no database and does not shrink; other tests are unchanged.

    ``@settings`` cannot be applied to a test that has settings already, so the private attribute that holds them is
    replaced.
    """
    inner: Any = getattr(function, "__func__", function)
    original = getattr(inner, "_hypothesis_internal_use_settings", None)
    if original is None:
        yield
        return
    from hypothesis import Phase, settings

    phases = [phase for phase in (Phase.explicit, Phase.generate) if phase in original.phases]
    inner._hypothesis_internal_use_settings = settings(original, database=None, phases=phases)
    try:
        yield
    finally:
        inner._hypothesis_internal_use_settings = original


def configure_anew(config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Determines the rootdir again and reads its configuration, if the fully parsed command line gives another rootdir.

    pytest determines the rootdir before it knows which options of plugins take a value, and has no public way to do it
    again.

    Args:
        config: as pytest has it before it loads conftest files.
        parser: with the options of all plugins.
        args: the command line, ``addopts`` first; changed in place if the other ini file has other ``addopts``.

    Raises:
        AttributeError: this version of pytest has renamed a private name that is used here.
    """
    from _pytest.config.findpaths import determine_setup

    added = config._validate_args(config.getini("addopts"), "via addopts config")
    typed = args[len(added) :]
    known = parser.parse_known_args(typed, namespace=copy.copy(config.option))
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
    args[:] = [*config._validate_args(config.getini("addopts"), "via addopts config"), *typed]
    config._checkversion()
    config._configure_python_path()
    config.pluginmanager.consider_preparse(args, exclude_only=False)
    config.known_args_namespace = parser.parse_known_args(args, namespace=copy.copy(config.option))
    config._validate_plugins()
    if config.known_args_namespace.confcutdir is None:
        config.known_args_namespace.confcutdir = str(root if ini is None else ini.parent)
