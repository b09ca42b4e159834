"""The tables of published figures: what is read from them, and what is said of a table that is wrong."""

import json
import tomllib

import pytest
from models import ROOT, module_of

from pytest_interp import UsageError

PUBLISHED = ROOT / "claims" / "published"
GOOD = """
checkpoint = "gpt2"

[sources]
DEMO = "a demo at 52c42edd"

[stimuli.bag]
prompt = "John gave the bag to"
answer = " Mary"
distractor = " John"
bos = true

[[figures]]
measurement = "probability"
source = "DEMO, cell 20"
row = "S-P1"
stimulus = "bag"
within = 0.002
cases = [{ token = " Mary", value = 0.7007 }, { token = " the", value = 0.0467 }]
"""


@pytest.fixture(scope="module")
def tables():
    return module_of(PUBLISHED / "tables.py")


@pytest.fixture
def read(tables, tmp_path):
    def of(text):
        (tmp_path / "gpt2.toml").write_text(text)
        (tmp_path / "matrices.json").write_text(json.dumps({"of_heads": {"values": [[0.5]]}}))
        return tables.read(tmp_path / "gpt2.toml")

    return of


def test_a_case_is_a_figure(read):
    first, second = read(GOOD)
    assert (first.checkpoint, first.rows, first.measurement, first.evidence) == ("gpt2", ("S-P1",), "probability", "A")
    assert first.source == "a demo at 52c42edd, cell 20"
    assert first.stimulus["prompt"] == "John gave the bag to"
    assert (first.protocol, first.bound) == ({"token": " Mary"}, {"near": (0.7007, 0.002)})
    assert (first.label, second.label) == ("S-P1-Mary", "S-P1-the")


def test_a_band_a_part_of_the_prompts_and_a_matrix(read):
    figures = '[[figures]]\nmeasurement = "logit_diff"\nsource = "DEMO"\nrow = "S-B1"\nstimulus = "bag"\n'
    (band,) = read(GOOD.partition("[[figures]]")[0] + figures + "value = 3.56\nbetween = [2, 4]\nprompts = [0, 5]\n")
    assert (band.bound, band.value, band.evidence) == ({"between": (2, 4)}, 3.56, "C")
    assert band.stimulus["rows"] == [0, 5]
    matrix = figures.replace("logit_diff", "direct_logit_attribution_matrix")
    (whole,) = read(GOOD.partition("[[figures]]")[0] + matrix + 'matrix = "of_heads"\nwithin = 0.01\n')
    assert (whole.value, whole.within, whole.bound, whole.protocol) == ([[0.5]], 0.01, {}, {})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('measurement = "probability"', 'measurement = "probabilty"', "is no measurement; nearest: probability"),
        ('stimulus = "bag"', 'stimulus = "bags"', r"S-P1 \(probability\) names 'bags', which \[stimuli\] has not.*bag"),
        ('source = "DEMO, cell 20"', 'source = "EAD"', "has the source 'EAD'; begin it with one of DEMO"),
        ("within = 0.002", "", "value 0.7007 and within None; pass two numbers, or a band"),
        ("within = 0.002", "within = 0", "within 0; it is how far a value may be off: above 0"),
        ("value = 0.7007", 'value = "high"', "value 'high' and within 0.002; pass two numbers"),
        ("token =", "tokn =", "has the unknown key 'tokn'.*token"),
        ("bos = true", "boss = true", "stimuli.bag has the unknown key 'boss'.*bos"),
        ('row = "S-P1"', "", "a figure names its row"),
        ('row = "S-P1"', 'row = "S-P1"\nevidence = "E"', "evidence is 'E'; allowed: A, B, C"),
        ('checkpoint = "gpt2"', "", "has no checkpoint; name one, or name it for the whole table"),
        ("cases = [", "cases = [,", "not valid TOML"),
    ],
)
def test_what_is_said_of_a_wrong_table(read, old, new, message):
    assert old in GOOD
    with pytest.raises(UsageError, match=message):
        read(GOOD.replace(old, new, 1))


def test_a_figure_that_is_there_twice(tables, tmp_path):
    (tmp_path / "gpt2.toml").write_text(GOOD.replace("the", "Mary"))
    with pytest.raises(UsageError, match="two figures are 'gpt2 probability S-P1-Mary'; give one another id"):
        tables.all_figures(tmp_path)


def test_another_folder_of_tables(tables, tmp_path, monkeypatch):
    monkeypatch.setenv(tables.VARIABLE, str(tmp_path))
    with pytest.raises(UsageError, match="has no table of figures"):
        tables.figures_of("probability")
    (tmp_path / "gpt2.toml").write_text(GOOD)
    assert [figure.value for figure in tables.figures_of("probability")] == [0.7007, 0.0467]
    assert tables.figures_of("logit_diff") == []


def test_no_such_measurement(tables):
    with pytest.raises(UsageError, match="'logit_dif' is no measurement of a figure.*logit_diff"):
        tables.figures_of("logit_dif")


def test_every_measurement_has_figures_and_a_claim(tables):
    claims = "".join((PUBLISHED / name).read_text() for name in ("test_figures.py", "test_own_protocols.py"))
    for measurement in tables.MEASUREMENTS:
        assert tables.figures_of(measurement), measurement
        assert f'@pytest.mark.figures("{measurement}")\ndef test_{measurement}(' in claims


def test_every_source_stimulus_and_matrix_is_used():
    names = set()
    for path in (PUBLISHED / "figures").glob("*.toml"):
        table = tomllib.loads(path.read_text())
        groups = [{**group, **case} for group in table["figures"] for case in group.get("cases", [{}])]
        used = {value for entry in groups for key in ("stimulus", "reference") if (value := entry.get(key))}
        assert set(table["stimuli"]) == used, path.name
        sources = "; ".join({entry["source"] for entry in groups})
        assert all(source in sources for source in table["sources"]), path.name
        names |= {entry["matrix"] for entry in groups if "matrix" in entry}
    assert names == set(json.loads((PUBLISHED / "figures" / "matrices.json").read_text()))


def test_printed_figures_agree_with_each_other(tables):
    figures = [f for f in tables.all_figures(PUBLISHED / "figures") if f.measurement == "logit_diff"]
    for checkpoint, prefix, mean, count in (
        ("gpt2", "S-B22-", 3.5519, 8),
        ("gpt2", "S-N8-", 5.6015, 20),
        ("gpt2", "S-N9-months-", 8.4781, 8),
        ("gpt2", "S-N9-days-", 5.7776, 3),
        ("pythia-410m", "O-14-", 4.8005, 8),
    ):
        values = [
            figure.value
            for figure in figures
            if figure.checkpoint == checkpoint and figure.label.startswith(prefix) and "rows" in figure.stimulus
        ]
        assert len(values) == count, prefix
        assert sum(values) / count == pytest.approx(mean, abs=1e-3), prefix
