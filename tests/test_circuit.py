from pathlib import Path

import pytest

from pytest_interp.circuit import load_circuit
from pytest_interp.errors import UsageError
from pytest_interp.heads import Head

GOOD = """
checkpoint = "m"
[roles.name_mover]
heads = ["9.9", "9.6"]
at = "END"
source = "someone, somewhere"
bounds.copy_score = { default = { at_least = 0.8 }, "9.6" = { at_least = 0.5 } }
"""


def load(tmp_path: Path, text: str):
    path = tmp_path / "m.toml"
    path.write_text(text)
    return load_circuit(path)


def test_roles_heads_and_bounds(tmp_path):
    circuit = load(tmp_path, GOOD)
    role = circuit.role("name_mover")
    assert role.heads == (Head(9, 9), Head(9, 6))
    assert role.bound("copy_score", Head(9, 9)) == {"at_least": 0.8}
    assert role.bound("copy_score", Head(9, 6)) == {"at_least": 0.5}
    assert role.bound("attention", Head(9, 6)) == {}
    assert circuit.role_of(Head(9, 6)) is role
    assert circuit.role_of(Head(1, 1)) is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("at =", "att =", "unknown key 'att'.*nearest: at"),
        ('checkpoint = "m"', "", "lacks checkpoint"),
        ('source = "someone, somewhere"', "", "roles.name_mover lacks source"),
        ('"9.6"]', '"96"]', "roles.name_mover.heads: '96' is not a head"),
        ('"9.6"]', '"9.9"]', "lists a head twice"),
        ("at_least = 0.5", "atleast = 0.5", "unknown key 'atleast'.*nearest: at_least"),
        ('"9.6" = {', '"9.7" = {', "names 9.7, which is not in"),
        ("[roles.name_mover]", "[roles.name_mover", "not valid TOML"),
        ('["9.9", "9.6"]', "3", "heads is 3; it must be a list"),
        ('["9.9", "9.6"]', "[]", "heads is \\[\\]; it must be a list"),
        ('at = "END"', 'at = "END"\nsign = "up"', "sign is 'up'; allowed: 1, -1"),
        ("{ at_least = 0.8 }", "{ at_least = 0.8, at_most = 1 }", "has 2 bounds; give exactly one"),
        ("[roles.name_mover]", "expected_failures = 3\n[roles.name_mover]", "expected_failures must be a list"),
    ],
)
def test_a_typo_is_named(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(UsageError, match=message):
        load(tmp_path, GOOD.replace(old, new, 1))


def test_a_role_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"no role 'name_movers'; it has name_mover; nearest: name_mover"):
        load(tmp_path, GOOD).role("name_movers")


def test_every_circuit_of_the_project_loads():
    files = sorted((Path(__file__).parents[1] / "claims" / "circuits").glob("*.toml"))
    assert [load_circuit(file).checkpoint for file in files] == [file.stem for file in files]


def test_the_planted_circuit_is_the_table_that_the_weights_are_written_from(planted):
    from pytest_interp.checkpoints.planted import RULES

    path = Path(__file__).parents[1] / "claims" / "circuits" / "planted-ioi.toml"
    circuit = load_circuit(path)
    assert {head: role.name for role in circuit.roles.values() for head in role.heads} == {
        head: rule.role for head, rule in RULES.items()
    }
    assert circuit.fingerprint == planted.fingerprint
