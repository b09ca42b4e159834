"""What is imported is declared, with the lower bounds that are run; the package knows its version."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import pytest_interp

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = dict(re.findall(r"^([\w-]+)>=([\d.]+)", "\n".join(PROJECT["dependencies"]), re.M))


def test_the_lowest_versions_that_are_run_are_the_lower_bounds():
    lines = (ROOT / "constraints-lowest.txt").read_text().splitlines()
    lowest = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert lowest == {name: bound for name, bound in DECLARED.items() if name != "torch"}


def test_what_is_imported_is_declared():
    imported = set()
    for path in (ROOT / "pytest_interp").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
            elif isinstance(node, ast.Import):
                imported.update(alias.name.split(".")[0] for alias in node.names)
    foreign = imported - {*sys.stdlib_module_names, "pytest_interp", "_pytest"}
    extras = {name for texts in PROJECT["optional-dependencies"].values() for name in re.findall(r"[\w-]+", texts[0])}
    declared = {name.replace("-", "_") for name in (*DECLARED, *extras)}
    assert foreign - {"matplotlib", "xdist"} <= declared  # a run of pytest-xdist is asked about its own package
    assert {"transformers", "huggingface_hub", "tokenizers", "safetensors"} <= foreign


def test_the_version_is_that_of_the_installed_package_and_costs_nothing():
    assert pytest_interp.__version__ == version("pytest-interp")
    code = "import sys, pytest_interp; print('importlib.metadata' in sys.modules)"
    run = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert run.stdout == "False\n"
    with pytest.raises(AttributeError):
        pytest_interp.__versions__  # noqa: B018
