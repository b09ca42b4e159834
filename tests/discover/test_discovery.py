"""Discovery on the planted model, where the circuit follows from the construction, and where there is none."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from models import CLAIMS, ROOT, benchmark, random_gpt2

from pytest_interp import Checkpoint, CheckpointSpec, Head, load_circuit
from pytest_interp.checkpoints.planted.rules import RULES
from pytest_interp.circuit import EVERYWHERE
from pytest_interp.cli import main
from pytest_interp.discover import discovery, redraws
from pytest_interp.discover.alternative import alternative_to
from pytest_interp.discover.budget import Budget
from pytest_interp.discover.capability import capability_of
from pytest_interp.discover.circuit_text import INCOMPLETE, circuit_text, described, summary, undecided
from pytest_interp.discover.discovery import Question, discover
from pytest_interp.discover.figure import circuit_figure
from pytest_interp.discover.search import Search
from pytest_interp.errors import UsageError
from pytest_interp.measure import faithfulness
from pytest_interp.measure.places import Place
from pytest_interp.tasks import ioi_grid


def quiet(seconds=None):
    return Budget(seconds, say=lambda _: None)


def test_the_roles_are_the_planted_ones(proposal):
    assert {(r.place.head, r.role) for r in proposal.roles.all} == {(head, rule.role) for head, rule in RULES.items()}
    assert all(proposal.confirmation.confirms(reading) for reading in proposal.roles.all)


def test_the_circuit_is_small_and_faithful(proposal):
    """The backup rests while the movers are there: it is no part of the smallest set, and stands beside it."""
    assert set(proposal.selection.heads) == set(RULES) - {Head(4, 1)}
    assert all(place.at != EVERYWHERE for place in proposal.selection.places)
    assert proposal.selection.complete
    for faithful in (proposal.selection.faithfulness, proposal.confirmation.faithfulness):
        assert faithful.value == pytest.approx(1, abs=0.01)
    assert proposal.confirmation.needed == set(proposal.selection.places)
    gaps = proposal.confirmation.completeness
    assert {role for role, gap in gaps.items() if abs(gap.value) > 0.1} == set()


def test_paths_are_the_planted_ones(proposal):
    acting = {(str(edge.sender), edge.target.name, edge.target.into) for edge in proposal.edges if edge.acts}
    assert acting >= {
        ("3.0", "logits", None),
        ("4.0", "logits", None),
        ("2.0", "name_mover", "q"),
        ("2.1", "name_mover", "q"),
        ("1.0", "s_inhibition", "k"),
        ("0.1", "s_inhibition", "k"),
        ("0.0", "induction", "k"),
    }
    assert ("0.0", "s_inhibition", "k") not in acting
    assert not any(sender == "2.0" and name == "logits" for sender, name, _ in acting)


def test_every_planted_head_is_stable(proposal):
    assert {proposal.stability.frequency[head] for head in proposal.selection.heads} == {1.0}
    assert not proposal.stability.replacements


def test_the_curve_reaches_the_model_with_the_circuit(proposal):
    for values in proposal.curve.by_ablation.values():
        assert dict(zip(proposal.curve.sizes, values, strict=True))[10] == pytest.approx(1, abs=0.02)
        assert values[0] == 0
        assert values[-1] == 1
    assert all(low <= high for low, high in proposal.curve.band)
    assert len(set(proposal.curve.sizes)) < len(proposal.curve.sizes)
    curves = [line for line in summary(proposal) if "ablation" in line and "0: " in line]
    assert len(curves) == 3
    assert [[int(size) for size in re.findall(r"(\d+): ", line)] for line in curves] == [
        sorted(set(proposal.curve.sizes))
    ] * 3


def test_without_the_planted_heads_nothing_does_the_task(proposal):
    alternative = proposal.alternative
    assert not alternative.is_faithful
    assert alternative.rest.value < 0, "of what is left the backup alone acts, against the answer"
    assert abs(alternative.faithfulness.value) < 0.05
    assert "no other circuit" in circuit_text(proposal)


def test_another_circuit_is_found_where_there_is_one(question, proposal):
    silent = replace(proposal.selection, places=(Place(Head(4, 3), "END"),))
    alternative = alternative_to(question.finding, silent, quiet())
    assert alternative.is_faithful
    assert alternative.complete
    assert set(alternative.nearest) == set(proposal.selection.heads)
    assert f"another circuit of {len(proposal.selection.heads)} heads" in described(alternative)


def test_both_ablations_agree_on_the_planted_circuit(proposal):
    resampled, corruption = proposal.confirmation.resampled
    assert corruption == "abc"
    assert resampled.value == pytest.approx(proposal.confirmation.faithfulness.value, abs=0.05)


def test_progress_names_each_stage(said, proposal):
    stages = [
        "capability",
        "effects",
        "selection",
        "roles",
        "paths",
        "stability",
        "confirmation",
        "curve",
        "alternative",
    ]
    assert [line.partition(":")[0] for line in said] == stages
    assert all(line.endswith(" s)") for line in said)


def test_the_file_is_the_planted_circuit_file(proposal, tmp_path):
    path = tmp_path / "planted-ioi.toml"
    path.write_text(circuit_text(proposal))
    proposed, written = load_circuit(path), load_circuit(CLAIMS / "circuits" / "planted-ioi.toml")
    for name, role in written.roles.items():
        mine = proposed.roles[name]
        assert (mine.heads, mine.at, mine.reads, mine.sign) == (role.heads, role.at, role.reads, role.sign)
    assert proposed.roles.keys() == written.roles.keys()
    assert (proposed.bos, proposed.fingerprint) == (written.bos, written.fingerprint)
    assert proposed.outside == (Head(4, 1),), "the backup, which the smallest set does not have"
    assert proposed.heads == set(proposal.selection.heads)
    assert "# 2.0 at END: attends to S2 1.00" in path.read_text()
    assert INCOMPLETE not in path.read_text()
    assert undecided(proposal) == []


def test_the_figure_has_each_head_and_each_path(proposal):
    figure = circuit_figure(proposal)
    (axes,) = figure.axes
    texts = [text.get_text() for text in axes.texts]
    assert sorted(text for text in texts if "." in text) == sorted(map(str, RULES))
    assert sum(text == "" for text in texts) >= sum(edge.acts for edge in proposal.edges)


def test_claims_run_on_the_file_as_it_is(proposal, pytester):
    """The claims of this project about the task and the movers, with the proposed file alone."""
    (pytester.path / "circuits").mkdir()
    text = "\n".join(line for line in circuit_text(proposal).splitlines() if not line.startswith("fingerprint"))
    (pytester.path / "circuits" / "planted-ioi.toml").write_text(text)
    pytester.makepyfile(
        """
        import pytest
        from pytest_interp import assert_attention, assert_faithfulness

        @pytest.mark.claim(source="discovered", role="name_mover")
        def test_reads(ioi, head):
            assert_attention(ioi, head, at="END", to="IO", at_least=0.5)

        @pytest.mark.claim(source="discovered", role="s_inhibition")
        def test_faithful(ioi, heads):
            assert_faithfulness(ioi, between=(0.9, 1.1))
        """
    )
    pytester.runpytest("--interp-model", "planted-ioi", "--interp-prompts", "24").assert_outcomes(passed=4)


def test_an_interruption_keeps_what_is_there(question, proposal, monkeypatch):
    """The stages before it are those of the whole discovery."""
    for name in ("effects", "selection", "roles"):
        stage = getattr(discovery, f"_{name}")
        monkeypatch.setattr(discovery, f"_{name}", _from(proposal, name, stage.__name__))

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(discovery, "edges_of", interrupt)
    texts = []
    partial = discover(question, quiet(), texts.append)
    assert partial.interrupted == "interrupted in the stage paths"
    assert partial.roles is proposal.roles
    assert circuit_text(partial).startswith(f"# {INCOMPLETE}: interrupted in the stage paths")
    assert "not done yet" in texts[-1].interrupted


def test_redraws_are_other_prompts(question, monkeypatch):
    """Two searches whose heads are given: half of them are the same."""
    circuits, seeds = iter([(Head(1, 0), Head(1, 1), Head(1, 2)), (Head(1, 0), Head(1, 1), Head(1, 3))]), []

    def search(experiment, effects, budget, share):
        seeds.append(experiment.data.seed)
        return SimpleNamespace(heads=next(circuits))

    monkeypatch.setattr(redraws, "effects_of", lambda *_: None)
    monkeypatch.setattr(redraws, "select", search)
    result = redraws.redraw(question.finding, 2, ["abc"], quiet())
    assert len({question.finding.data.seed, *seeds}) == 3
    assert result.jaccard == 0.5
    assert result.frequency[Head(1, 0)] == 1.0
    assert result.frequency[Head(1, 3)] == 0.5


def test_listed_prompts_cannot_be_redrawn(question):
    listed = replace(question.finding, data=replace(question.finding.data, redraw=None))
    asked = replace(question, finding=listed, redraws=2)
    with pytest.raises(UsageError, match="--redraws: the prompts of ioi/find are listed, not drawn"):
        discover(asked, quiet())


def test_an_interrupted_search_keeps_its_set(question, proposal, monkeypatch, tmp_path):
    monkeypatch.setattr(discovery, "_effects", _from(proposal, "effects", "_effects"))

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Search, "remove", interrupt)
    partial = discover(question, quiet())
    assert partial.interrupted == "interrupted before the stage roles"
    assert set(partial.selection.heads) >= set(RULES) - {Head(4, 1)}
    path = tmp_path / "partial.toml"
    path.write_text(circuit_text(partial))
    assert path.read_text().startswith(f"# {INCOMPLETE}: interrupted")
    assert load_circuit(path).heads == set(partial.selection.heads)


def test_time_that_ends_with_the_last_stage_leaves_nothing_undone(question, proposal, monkeypatch):
    for name in ("effects", "selection", "roles", "stability", "confirmation", "curve"):
        monkeypatch.setattr(discovery, f"_{name}", _from(proposal, name, f"_{name}"))
    monkeypatch.setattr(discovery, "_paths", _from(proposal, "edges", "_paths"))

    def last(question, partial, budget):
        budget.interrupted = True  # as if the time were over
        return partial

    last.__name__ = "_alternative"
    monkeypatch.setattr(discovery, "_alternative", last)
    assert discover(question, quiet()).interrupted == ""
    assert discover(replace(question, redraws=1), quiet()).interrupted != "", "redraws were asked for"


def _from(proposal, name, full_name):
    def stage(question, partial, budget):
        return replace(partial, **{name: getattr(proposal, name)})

    stage.__name__ = full_name
    return stage


def test_a_budget_for_no_candidate_gives_no_circuit(question):
    proposal = discover(question, quiet(1e-6))
    assert proposal.selection is None
    assert proposal.reason == "the time was over, which --minutes sets, before the stage effects"


def test_a_model_at_chance_has_no_circuit(gpt2_like, ask):
    proposal = discover(ask(gpt2_like), quiet())
    assert "does not do the task" in proposal.reason
    assert "no circuit to look for" in proposal.reason
    assert proposal.effects is None


def test_prompts_without_what_it_takes_are_refused(question):
    finding = question.finding
    for change, words in (
        ({"corrupted": {}}, "has no corruption"),
        ({"reference": None}, "has no reference prompts"),
        ({"population": "fixed"}, "is a fixed set of prompts"),
    ):
        lacking = replace(finding, data=replace(finding.data, **change))
        with pytest.raises(UsageError, match=words):
            Question(lacking, question.confirming, "ioi")
    rows = [row for row, prompt in enumerate(finding.data.clean.prompts) if prompt.template.startswith("When")]
    with pytest.raises(UsageError, match="has 1 template; intervals over templates need at least 2"):
        Question(replace(finding, data=finding.data.rebuild(rows)), question.confirming, "ioi")
    listed = replace(finding, data=ioi_grid(finding.checkpoint.tokenizer, [("Mary", "John")], half="find", bos=True))
    with pytest.raises(UsageError, match="has no corruption"):
        Question(listed, question.confirming, "ioi")


def test_prompts_of_one_length_are_enough(question):
    """A named position has then one index, or several: nothing depends on it."""
    data = question.finding.data
    rows = max((group.rows for group in data.clean.groups), key=len)
    finding = replace(question.finding, data=data.rebuild(rows))
    effects = discovery.effects_of(finding, ["abc"], quiet(), 1.0)
    assert Place(Head(3, 0), "END") in effects.by_corruption["abc"]


def test_a_given_circuit_is_measured_as_it_is(question, proposal):
    """The planted heads without a duplicate-token head, and with one that does nothing."""
    heads = tuple(sorted({*RULES, Head(3, 3)} - {Head(1, 0)}))
    measured = discover(replace(question, heads=heads), quiet())
    selection = measured.selection
    assert selection.places == tuple(Place(head, EVERYWHERE) for head in heads)
    assert selection.given
    assert selection.complete
    assert len(selection.steps) == 1
    assert selection.faithfulness.value < 0.8
    (place,) = (place for place in selection.gained if place.head == Head(1, 0))
    assert place in selection.improving
    assert abs(selection.lost[Place(Head(3, 3), EVERYWHERE)].value) < 0.01
    assert selection.lost[Place(Head(3, 0), EVERYWHERE)].value > 1
    assert measured.stability.frequency[Head(3, 3)] == 0
    assert measured.stability.frequency[Head(3, 0)] == 1
    roles = {reading.place.head: reading.role for reading in measured.roles.readings}
    planted = {reading.place.head: reading.role for reading in proposal.roles.all}
    assert {head: role for head, role in roles.items() if head in RULES} == {
        head: role for head, role in planted.items() if head in roles
    }
    text = circuit_text(measured)
    assert text.startswith("# Measured by pytest-interp discover planted-ioi --task ioi")
    words = " ".join(text.replace("# ", "").split())
    assert "The heads were given; nothing was searched." in words


def test_the_confirmed_circuit_is_that_of_the_file(question, proposal, tmp_path):
    """The backup that stands outside is not in it; it is for completeness, since it rests until the movers are gone."""
    path = tmp_path / "planted-ioi.toml"
    path.write_text(circuit_text(proposal))
    circuit = load_circuit(path)
    assert circuit.outside == (Head(4, 1),)
    confirmed = proposal.confirmation.faithfulness
    assert faithfulness(question.confirming, circuit).values == pytest.approx(confirmed.values)
    assert Head(4, 1) not in confirmed.context.heads


def test_a_head_of_which_no_path_acts_says_how_many_were_tested(proposal):
    idle = replace(proposal, edges=tuple(replace(edge, acts=False) for edge in proposal.edges))
    words = " ".join(circuit_text(idle).replace("# ", "").split())
    assert re.search(
        r"3\.0 at END: .*?; none of \d+ tested paths surely acts, the largest effect is on the logits -", words
    )


def test_a_given_circuit_of_other_heads_is_refused(question):
    with pytest.raises(UsageError, match="9.9"):
        replace(question, heads=(Head(9, 9),))
    with pytest.raises(UsageError, match="the circuit has every head of the model, so nothing is outside of it"):
        replace(question, heads=tuple(question.finding.checkpoint.shape.heads))
    with pytest.raises(UsageError, match="redraws repeat a search, and none is made for a circuit that is given"):
        replace(question, heads=(Head(3, 0),), redraws=2)


def test_the_circuit_of_a_file_is_measured(tmp_path, capsys):
    """But for the heads that it puts outside."""
    circuit_file, output_file = tmp_path / "given.toml", tmp_path / "measured.toml"
    planted = (ROOT / "claims" / "circuits" / "planted-ioi.toml").read_text()
    circuit_file.write_text(f'outside = ["4.1"]\n{planted}')
    command = f"discover planted-ioi -o {output_file} --confirm-prompts 24 --circuit {circuit_file}".split()
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "9 heads at 9 places" in printed.out
    assert f"circuit: 9 heads of {circuit_file}, about planted-ioi" in printed.err
    circuit = load_circuit(output_file)
    assert circuit.positions == dict.fromkeys(sorted(set(RULES) - {Head(4, 1)}))
    assert circuit.everywhere == tuple(circuit.positions)


def test_a_circuit_file_without_a_role_in_a_task_is_refused(tmp_path, capsys):
    circuit_file = tmp_path / "given.toml"
    circuit_file.write_text('checkpoint = "m"\n[random_tokens.induction]\nheads = ["1.0"]\nat = "S2"\nsource = "x"')
    assert main(["discover", "planted-ioi", "-o", str(tmp_path / "mine.toml"), "--circuit", str(circuit_file)]) == 2
    assert "which has no head with a role in a task; name one there" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [circuit_file]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--circuit", "no.toml"], "--circuit is no.toml, and no such file is there"),
        (["--circuit", str(ROOT / "pyproject.toml"), "-o", str(ROOT / "pyproject.toml")], "are both"),
        (["--prompts", "3"], "--prompts is 3; pass at least 8"),
        (["--minutes", "0"], "--minutes is 0; pass a number above 0"),
        (["--redraws", "-1"], "--redraws is -1; pass at least 0"),
        (["-o", "mine.json"], "a circuit file ends in .toml"),
        (["--task", "iio"], "unknown task 'iio'"),
    ],
)
def test_wrong_command_lines(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["discover", "planted-ioi", "-o", "mine.toml", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.thorough
def test_no_random_model_does_the_task(tokenizer, ask):
    for seed in range(8):
        loader = lambda seed=seed: (random_gpt2(tokenizer, seed=seed), tokenizer)  # noqa: E731
        checkpoint = Checkpoint(CheckpointSpec("random", loader=loader, bos=True))
        for prompts in (24, 48):
            assert capability_of(ask(checkpoint, prompts).finding).reason, (seed, prompts)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "noise", "prompts"),
    [
        ("planted-ioi", 0.01, 24),
        ("planted-chain", 0.01, 24),
        ("planted-mlp0", 0.005, 24),
        ("planted-mlp0", 0.01, 48),
        ("planted-gqa", 0, 24),
    ],
)
def test_the_family_with_noise(name, noise, prompts):
    """The largest noise of docs/discover.md at which exactly the planted heads are proposed, by number of prompts."""
    measured = benchmark("planted_discovery")
    outcome = measured.outcome_on(name, measured.with_noise(name, noise), prompts)
    assert outcome.circuit
    assert (outcome.missed, outcome.wrong) == ((), ())
