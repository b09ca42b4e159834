"""Each quantity is declared once, and each measurement that is bounded is declared."""

import re

import pytest
from models import ROOT

from pytest_interp.common.quantities import _DECLARED, QUANTITIES

NAMED = re.compile(r'per_prompt\(\s*experiment,\s*"(\w+)"')
UNBOUNDED = {
    "kept_effect",
    "removed_attribution",
    "source_attribution",
    "z_norm",
    "occurrence_difference",
    "selectivity",
    "knockout_cost",
}
"""What is only described, or stands beside a verdict: no assertion is about it, but by the cells of a table."""


def test_a_name_is_declared_once():
    assert len(QUANTITIES) == len(_DECLARED)


@pytest.mark.parametrize("path", sorted((ROOT / "pytest_interp" / "measure").glob("*.py")), ids=lambda path: path.stem)
def test_what_is_measured_is_declared(path):
    assert set(NAMED.findall(path.read_text())) <= {*QUANTITIES, *UNBOUNDED}
