from pathlib import Path

import pytest

from pytest_interp.circuit_file import load_circuit
from pytest_interp.errors import NotApplicable, UsageError
from pytest_interp.heads import Head

GOOD = """
checkpoint = "m"
[roles.name_mover]
heads = ["9.9", "9.6"]
at = "END"
source = "someone, somewhere"
bounds.copy_score = { default = { at_least = 0.8 }, "9.6" = { at_least = 0.5 } }

[random_tokens.induction]
heads = ["5.5", "9.6"]
at = "second copy"
source = "someone else"

[[expected_failures]]
claim = "test_it"
heads = ["9.6", "5.5"]
reason = "measured"
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


def test_roles_on_random_tokens_stand_apart(tmp_path):
    circuit = load(tmp_path, GOOD)
    role = circuit.role("random_tokens.induction")
    assert role.name == "random_tokens.induction"
    assert role.heads == (Head(5, 5), Head(9, 6))
    assert list(circuit.roles) == ["name_mover"]
    assert circuit.heads == {Head(9, 9), Head(9, 6)}
    assert circuit.listed == {Head(9, 9), Head(9, 6), Head(5, 5)}
    assert circuit.role_of(Head(5, 5)) is None
    with pytest.raises(NotApplicable, match=r"has no role 'induction'.*nearest: random_tokens.induction"):
        circuit.role("induction")


def test_heads_outside_of_the_circuit_have_a_role(tmp_path):
    circuit = load(tmp_path, GOOD.replace('checkpoint = "m"', 'checkpoint = "m"\noutside = ["9.6"]'))
    assert circuit.role("name_mover").heads == (Head(9, 9), Head(9, 6))
    assert circuit.acting == {Head(9, 9), Head(9, 6)}
    assert circuit.heads == {Head(9, 9)}
    assert circuit.positions == {Head(9, 9): ("END",)}
    assert circuit.listed == {Head(9, 9), Head(9, 6), Head(5, 5)}
    assert circuit.role_of(Head(9, 6)).name == "name_mover"
    assert circuit.renamed({Head(9, 6): Head(9, 7)}).heads == {Head(9, 9)}


def test_a_head_is_kept_at_the_positions_of_all_its_roles(tmp_path):
    second = '[roles.second]\nheads = ["9.6"]\nat = "S2"\nsource = "x"\n[random'
    both = load(tmp_path, GOOD.replace("[random", second, 1))
    assert both.positions == {Head(9, 9): ("END",), Head(9, 6): ("END", "S2")}
    everywhere = load(tmp_path, GOOD.replace("[random", second.replace("S2", "all"), 1))
    assert everywhere.positions == {Head(9, 9): ("END",), Head(9, 6): None}
    listed = load(tmp_path, GOOD.replace('checkpoint = "m"', 'checkpoint = "m"\neverywhere = ["9.9"]'))
    assert listed.positions == {Head(9, 9): None, Head(9, 6): ("END",)}
    assert listed.renamed({Head(9, 9): Head(9, 7)}).positions == {Head(9, 7): None, Head(9, 6): ("END",)}


def test_heads_of_both_sections_are_renamed(tmp_path):
    renamed = load(tmp_path, GOOD).renamed({Head(9, 6): Head(9, 7)})
    assert renamed.role("name_mover").heads == (Head(9, 9), Head(9, 7))
    assert renamed.role("random_tokens.induction").heads == (Head(5, 5), Head(9, 7))


def test_a_circuit_may_have_roles_on_random_tokens_alone(tmp_path):
    start, end = GOOD.index("[roles"), GOOD.index("[random")
    text = GOOD[:start] + GOOD[end:].replace('"9.6", "5.5"', '"5.5"')
    assert load(tmp_path, text).heads == frozenset()


def test_a_quantity_of_ones_own_is_declared(tmp_path):
    text = GOOD.replace("bounds.copy_score", "bounds.probe_accuracy")
    with pytest.raises(UsageError, match='quantities = \\["probe_accuracy"\\]'):
        load(tmp_path, text)
    circuit = load(tmp_path, text.replace('checkpoint = "m"', 'checkpoint = "m"\nquantities = ["probe_accuracy"]'))
    assert circuit.role("name_mover").bound("probe_accuracy", None) == {"at_least": 0.8}


@pytest.mark.parametrize(
    ("quantity", "message"),
    [
        ("copy_scor", "^'copy_scor' is no quantity, .*; nearest: copy_score, .*quantities = "),
        ("probe_accuracy", "^'probe_accuracy' is no quantity"),
        (None, "^None is no quantity"),
    ],
)
def test_a_misspelt_quantity_is_named_where_its_bound_is_asked_for(tmp_path, quantity, message):
    """The default took the place of the file's bound without a word."""
    role = load(tmp_path, GOOD).role("name_mover")
    with pytest.raises(UsageError, match=message):
        role.bound(quantity, None)
    assert role.bound("attention", None) == {}


def test_a_head_is_the_same_however_it_is_written(tmp_path):
    circuit = load(
        tmp_path, GOOD.replace('"9.6" = {', '"09.6" = {').replace('heads = ["9.6", "5.5"]', 'heads = ["09.6"]')
    )
    assert circuit.role("name_mover").bound("copy_score", Head(9, 6)) == {"at_least": 0.5}
    assert circuit.expected_failures[0].heads == (Head(9, 6),)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("at =", "att =", "unknown key 'att'.*nearest: at"),
        ('checkpoint = "m"', "", "lacks checkpoint"),
        ('source = "someone, somewhere"', "", "roles.name_mover lacks source"),
        ('"9.6"]', '"96"]', "roles.name_mover.heads: '96' is not a head"),
        ('"9.6"]', '"9.9"]', "lists a head twice"),
        ("at_least = 0.5", "atleast = 0.5", "copy_score.9.6: atleast=.*nearest: at_least"),
        ("at_least = 0.5", "at_least = true", "copy_score.9.6: at_least=True is not a finite number"),
        ("at_least = 0.5", "between = [1, 0]", "copy_score.9.6: between=.* accepts nothing"),
        ("at_least = 0.5", "near = 0.5", "copy_score.9.6: near=0.5: pass a pair of numbers"),
        ("bounds.copy_score", "bounds.copy_scor", "unknown quantity 'copy_scor'; allowed: .*nearest: copy_score"),
        ('checkpoint = "m"', "checkpoint = 3", "checkpoint is 3; it must be a string"),
        ('checkpoint = "m"', 'checkpoint = "m"\ntask = true', "task is True; it must be a string"),
        ('checkpoint = "m"', 'checkpoint = "m"\nbos = "no"', "bos is 'no'; it must be true or false"),
        ('checkpoint = "m"', 'checkpoint = "m"\nfingerprint = 3', "fingerprint is 3; it must be a string"),
        ('checkpoint = "m"', 'checkpoint = "m"\nquantities = "x"', "quantities is 'x'; it must be a list"),
        ('checkpoint = "m"', 'checkpoint = "m"\nquantities = [3]', "quantities has 3; it must be a list of names"),
        ('checkpoint = "m"', 'checkpoint = "m"\nfound.sed = 3', "found has the unknown key 'sed' .= 3.*nearest: seed"),
        ('checkpoint = "m"', 'checkpoint = "m"\nfound.seed = "0"', "found.seed is '0'; it must be a whole number"),
        ('at = "END"', "at = 3", "roles.name_mover.at is 3; it must be a string"),
        ('at = "END"', 'at = "END"\nreads = ["IO"]', "roles.name_mover.reads is .*; it must be a string"),
        ('at = "END"', 'at = "END"\nwrites = true', "roles.name_mover.writes is True; it must be a string"),
        ('source = "someone, somewhere"', "source = 1", "roles.name_mover.source is 1; it must be a string"),
        ('source = "someone else"', "", "random_tokens.induction lacks source"),
        ("[random_tokens.induction]", "[random_token.induction]", "key 'random_token'.*nearest: random_tokens"),
        ("[roles.name_mover]", '[roles."name.mover"]', "the name of a role has no dot"),
        ('heads = ["9.6", "5.5"]', 'heads = ["9.7"]', "test_it names 9.7, which has no role.*nearest: .*9.9"),
        ('heads = ["9.6", "5.5"]', "heads = [9.6]", "expected_failures.heads: 9.6 is not a head"),
        ('heads = ["9.6", "5.5"]', 'heads = "9.6"', "expected_failures.heads is '9.6'; it must be a list"),
        ('checkpoint = "m"', 'checkpoint = "m"\noutside = ["5.5"]', "outside names 5.5, which has no role in the file"),
        (
            'checkpoint = "m"',
            'checkpoint = "m"\noutside = ["9.6"]\neverywhere = ["9.6"]',
            "everywhere names 9.6, which has no role in the file or is outside; allowed: 9.9",
        ),
        ('checkpoint = "m"', 'checkpoint = "m"\noutside = ["9.9", "9.6"]', "outside lists every head that has a role"),
        ('checkpoint = "m"', 'checkpoint = "m"\noutside = []', r"outside is \[\]; it must be a list such as"),
        ('checkpoint = "m"', 'checkpoint = "m"\neverywhere = "9.6"', "everywhere is '9.6'; it must be a list"),
        ('checkpoint = "m"', 'checkpoint = "m"\noutside = "9.6"', "outside is '9.6'; it must be a list"),
        ('checkpoint = "m"', 'checkpoint = "m"\noutside = ["9.6", "9.6"]', "outside lists a head twice"),
        ('claim = "test_it"', "claim = 3", "expected_failures.claim is 3; it must be a string"),
        ('reason = "measured"', "", "expected_failures lacks reason"),
        ('"9.6" = {', '"9.7" = {', "names 9.7, which is not in"),
        ('"9.6" = {', '"9.6" = { at_least = 0.7 }, "L9H6" = {', "has 9.6 twice, 'L9H6' is the second"),
        ("[roles.name_mover]", "[roles.name_mover", "not valid TOML"),
        ('["9.9", "9.6"]', "3", "heads is 3; it must be a list"),
        ('at = "END"', 'at = "END"\nsign = true', "sign is True; allowed: 1, -1"),
        ('["9.9", "9.6"]', "[]", "heads is \\[\\]; it must be a list"),
        ('at = "END"', 'at = "END"\nsign = "up"', "sign is 'up'; allowed: 1, -1"),
        ("{ at_least = 0.8 }", "{ at_least = 0.8, at_most = 1 }", "has 2 bounds; give exactly one"),
        (GOOD[GOOD.index("[[") :], "[expected_failures]", "expected_failures is {}; it must be a list"),
    ],
)
def test_a_typo_is_named(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(UsageError, match=message):
        load(tmp_path, GOOD.replace(old, new, 1))


def test_a_role_that_is_not_there(tmp_path):
    message = (
        "the circuit of m has no role 'name_movers'; it has name_mover, random_tokens.induction; nearest: name_mover"
    )
    with pytest.raises(NotApplicable, match=message):
        load(tmp_path, GOOD).role("name_movers")


def test_every_circuit_of_the_project_loads():
    files = sorted((Path(__file__).parents[1] / "claims" / "circuits").glob("*.toml"))
    assert [load_circuit(file).checkpoint for file in files] == [file.stem for file in files]


def test_the_planted_circuit_is_the_table_that_the_weights_are_written_from(planted):
    from pytest_interp.checkpoints.planted.rules import RULES

    path = Path(__file__).parents[1] / "claims" / "circuits" / "planted-ioi.toml"
    circuit = load_circuit(path)
    assert {head: role.name for role in circuit.roles.values() for head in role.heads} == {
        head: rule.role for head, rule in RULES.items()
    }
    assert circuit.fingerprint == planted.fingerprint
