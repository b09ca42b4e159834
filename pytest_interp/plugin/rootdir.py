"""The rootdir of a run whose own options were given paths.

pytest looks for the rootdir and its ini file before it has loaded plugins, so it takes ``PATH`` of
``--interp-cache PATH`` for something to collect where it exists (that of ``--interp-cache=PATH`` it does not). A folder
elsewhere then hides the project's ini file. This is the one module that knows how pytest reads its configuration.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path

import pytest
from _pytest.config.findpaths import determine_setup

from pytest_interp.plugin.options import FLAGS


def restore(config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Reads the configuration of the right rootdir, where a value of this plugin's options has led pytest to another.

    Args:
        config: as pytest has it before it loads conftest files.
        parser: knows the options of all plugins by now.
        args: the command line, ``addopts`` first; changed in place where the right ini file has others.
    """
    if not any(flag in FLAGS and Path(value).exists() for flag, value in pairwise(args)):
        return
    try:
        _restore(config, parser, args)
    except AttributeError as error:
        raise pytest.UsageError(
            f"this version of pytest takes values of --interp options for paths to collect ({error}); write them with "
            "=, as in --interp-cache=PATH"
        ) from None


def _restore(config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
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
