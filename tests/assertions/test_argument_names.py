"""One word for one thing: an assertion has the arguments of its measurement, in the same order."""

import inspect
from types import ModuleType

import pytest

import pytest_interp
from pytest_interp import measure

OLD = {"without", "more_than", "activation", "component", "sign", "reads", "backups"}
HOMES = {
    "component_attribution": measure.component_attribution_sweep,
    "logit_lens": measure.logit_lens_sweep,
    "backup_heads": measure.backup_effect,
}
PAIRS = {
    name.removeprefix("assert_"): measured
    for name in dir(pytest_interp)
    if (measured := HOMES.get(name[7:]) or getattr(measure, name[7:], None)) and name.startswith("assert_")
}


def parameters(function):
    return [
        (name, parameter.kind)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    ]


@pytest.mark.parametrize("name", PAIRS)
def test_an_assertion_has_the_arguments_of_its_measurement(name):
    asserted, measured = parameters(getattr(pytest_interp, f"assert_{name}")), parameters(PAIRS[name])
    common = {argument for argument, _ in asserted} & {argument for argument, _ in measured}
    assert [pair for pair in asserted if pair[0] in common] == [pair for pair in measured if pair[0] in common]


def test_every_measurement_with_an_assertion_is_looked_at():
    assert len(PAIRS) >= 22


MODULES: list[ModuleType] = [pytest_interp, measure]


@pytest.mark.parametrize("module", MODULES)
def test_old_words_are_gone(module):
    for name in module.__all__:
        if name.startswith("assert_") or (module is measure and callable(getattr(measure, name))):
            assert not OLD & {argument for argument, _ in parameters(getattr(module, name))}, name


def test_a_sweep_is_called_by_what_it_measures():
    tables = [name for name in measure.__all__ if name.endswith("_sweep")]
    assert {name.removesuffix("_sweep") for name in tables} - set(measure.__all__) == {
        "component_attribution",
        "knocked_out_attribution",
        "logit_lens",
        "source_attribution",
    }
