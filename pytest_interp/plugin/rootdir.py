"""The rootdir of a run whose own options were given paths.

pytest looks for the rootdir and its ini file before it has loaded plugins, so it takes ``PATH`` of
``--interp-cache PATH`` for something to collect where it exists (that of ``--interp-cache=PATH`` it does not). A folder
elsewhere then hides the project's ini file.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from pytest_interp.common.compat import configure_anew
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
        configure_anew(config, parser, args)
    except AttributeError as error:
        raise pytest.UsageError(
            f"this version of pytest takes values of --interp options for paths to collect ({error}); write them with "
            "=, as in --interp-cache=PATH"
        ) from None
