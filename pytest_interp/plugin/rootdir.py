"""Restores the rootdir of a run in which an option of this plugin has a path as its value.

pytest looks for the rootdir and its ini file before it has loaded plugins. So it does not know that
``--interp-cache PATH`` takes a value, and takes an existing ``PATH`` for something to collect. A folder outside the
project then hides the project's ini file. ``--interp-cache=PATH`` has no such effect.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from pytest_interp.common.compat import configure_anew
from pytest_interp.plugin.options import FLAGS


def restore(config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Determines the rootdir again, and reads its ini file, if a value of this plugin's options is an existing path.

    Args:
        config: the configuration before conftest files are loaded.
        parser: the parser, which knows the options of all plugins by now.
        args: the command line, ``addopts`` first; changed in place if the right ini file has other ``addopts``.

    Raises:
        pytest.UsageError: this version of pytest does not let the configuration be read again.
    """
    if not any(flag in FLAGS and Path(value).exists() for flag, value in pairwise(args)):
        return
    try:
        configure_anew(config, parser, args)
    except AttributeError as error:
        raise pytest.UsageError(
            f"this version of pytest takes values of --interp options for paths to collect ({error}); write them with "
            "=, as in --interp-cache=PATH"
        ) from None
