import pytest

from pytest_interp.errors import UsageError
from pytest_interp.tasks import from_strings, ioi, ioi_grid, p8, single_token_names
from pytest_interp.tasks.ioi_words import NAMES, TEMPLATES
from pytest_interp.tasks.positions import END, IO, S1, S1_NEXT, S2

CORRUPTIONS = ("s2-exchanged", "names-exchanged", "abc", "random-names")


@pytest.fixture(scope="module")
def data(tokenizer):
    return ioi(tokenizer, half="confirm", n=48, seed=3, bos=True)


def word_at(tokenizer, group, position, row):
    return tokenizer.decode(group.tokens[row][int(group.positions[position][row])])


def test_the_lists_are_large_enough():
    assert len(TEMPLATES) == len(set(TEMPLATES)) >= 15
    assert len(NAMES) == len(set(NAMES)) >= 100


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_template_can_be_read_at_its_positions(template):
    assert not template.startswith("{")
    assert all(template.count(slot) == 1 for slot in ("{A}", "{B}", "{S}"))
    assert template.index("{A}") < template.index("{B}") < template.index("{S}")
    assert template.endswith(" to")
    assert all(template[template.index(slot) - 1] == " " for slot in ("{A}", "{B}", "{S}"))


def test_nothing_is_padded_and_groups_have_one_length(tokenizer, data):
    for group in data.clean.groups:
        assert group.tokens.shape[0] == len(group.rows)
        for i, row in enumerate(group.rows):
            text = data.clean.prompts[row].text
            assert group.tokens[i].tolist() == [tokenizer.bos_token_id, *tokenizer(text)["input_ids"]]
    assert sorted(row for group in data.clean.groups for row in group.rows) == list(range(48))


def test_positions_are_where_the_words_are(tokenizer, data):
    for group in data.clean.groups:
        assert set(group.positions) == {IO, S1, S1_NEXT, S2, END}
        for i, row in enumerate(group.rows):
            prompt = data.clean.prompts[row]
            assert word_at(tokenizer, group, "IO", i) == prompt.answer.strip()
            assert word_at(tokenizer, group, "S1", i) == prompt.distractor.strip()
            assert word_at(tokenizer, group, "S2", i) == prompt.distractor.strip()
            assert group.positions["S1"][i] < group.positions["S2"][i]
            assert group.positions["S1+1"][i] == group.positions["S1"][i] + 1
            assert group.positions["END"][i] == group.tokens.shape[1] - 1
            assert word_at(tokenizer, group, "END", i) == "to"


def test_both_orders_and_every_template_of_the_half(data):
    orders = [prompt.tags["order"] for prompt in data.clean.prompts]
    assert orders.count("ABBA") == orders.count("BABA") == 24
    assert len({prompt.template for prompt in data.clean.prompts}) == len(TEMPLATES) // 2
    for prompt in data.clean.prompts:
        first = min((prompt.marks["IO"], "IO"), (prompt.marks["S1"], "S"))[1]
        assert (prompt.tags["order"] == "ABBA") == (first == "IO")


def test_the_halves_share_no_template_and_no_name(tokenizer):
    find, confirm = (ioi(tokenizer, half=half, n=96, seed=0, bos=True) for half in ("find", "confirm"))
    assert not {p.template for p in find.clean.prompts} & {p.template for p in confirm.clean.prompts}
    names = [{p.tags[key] for p in half.clean.prompts for key in ("IO", "S")} for half in (find, confirm)]
    assert not names[0] & names[1]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_keep_everything_but_the_names(tokenizer, data, name):
    for clean, other in zip(data.clean.prompts, data.run(name).prompts, strict=True):
        io, s = clean.answer.strip(), clean.distractor.strip()
        names = [other.text[: other.marks[key]].rpartition(" ")[2] for key in ("IO", "S1", "S2")]
        assert (other.answer, other.distractor) == (clean.answer, clean.distractor)
        blank = [
            " ".join("NAME" if word.strip(",.") in NAMES else word for word in prompt.text.split())
            for prompt in (clean, other)
        ]
        assert blank[0] == blank[1]
        if name == "s2-exchanged":
            assert names == [io, s, io]
        elif name == "names-exchanged":
            assert names == [s, io, io]
        elif name == "abc":
            assert len({*names, io, s}) == 5
        else:
            assert names[1] == names[2]
            assert len({*names, io, s}) == 4


def test_the_reference_has_sixteen_prompts_of_three_names_for_each_template(data):
    by_template = {}
    for prompt in data.reference.prompts:
        names = {prompt.text[: prompt.marks[key]].rpartition(" ")[2] for key in ("IO", "S1", "S2")}
        assert len(names) == 3
        by_template.setdefault(prompt.template, []).append(prompt)
    assert {len(prompts) for prompts in by_template.values()} == {16}
    assert set(by_template) == {prompt.template for prompt in data.clean.prompts}


def test_the_same_choices_give_the_same_data_and_others_do_not(tokenizer, data):
    def digest(**change):
        return ioi(tokenizer, **{"half": "confirm", "n": 48, "seed": 3, "bos": True, **change}).digest

    assert digest() == data.digest
    others = [digest(seed=4), digest(bos=False), digest(half="find"), digest(n=47)]
    assert len({data.digest, *others}) == 5


def test_drawing_does_not_touch_the_global_generators(tokenizer):
    import random

    import torch

    random.seed(5)
    torch.manual_seed(5)
    expected = random.random(), float(torch.rand(1))
    random.seed(5)
    torch.manual_seed(5)
    ioi(tokenizer, half="find", n=24, seed=9, bos=True)
    assert (random.random(), float(torch.rand(1))) == expected


def test_where_keeps_runs_aligned(data):
    part = data.select(order="BABA")
    assert len(part.clean) == 24
    assert all(p.tags["order"] == "BABA" for p in part.run("abc").prompts)
    with pytest.raises(UsageError, match=r"has \{'order': 'AABB'\}; its values are"):
        data.select(order="AABB")


def test_given_pairs_over_every_template(tokenizer):
    grid = ioi_grid(tokenizer, [("Mary", "John")], half="confirm", bos=True)
    assert len(grid.clean) == len(TEMPLATES)
    assert grid.population == "fixed"
    with pytest.raises(UsageError, match="answer and the distractor"):
        ioi_grid(tokenizer, [("Mary", "Mary")], half="confirm", bos=True)


def test_names_are_filtered_by_the_tokenizer(tokenizer):
    assert set(single_token_names(tokenizer)) == {n for n in NAMES if n in tokenizer.get_vocab()}


def test_p8_is_the_published_set(tokenizer):
    data = p8(tokenizer)
    assert [(p.answer, p.distractor) for p in data.clean.prompts] == [
        (" Mary", " John"), (" John", " Mary"), (" Tom", " James"), (" James", " Tom"),
        (" Dan", " Sid"), (" Sid", " Dan"), (" Martin", " Amy"), (" Amy", " Martin"),
    ]  # fmt: skip
    (group,) = data.clean.groups
    assert group.tokens.shape == (8, 15)
    assert group.positions["S2"].tolist() == [10] * 8
    assert group.positions["END"].tolist() == [14] * 8
    assert data.population == "fixed"
    # Exchanging S2 turns each prompt into its partner.
    texts = [p.text for p in data.clean.prompts]
    partners = [texts[i + 1] if i % 2 == 0 else texts[i - 1] for i in range(8)]
    assert [p.text for p in data.run("s2-exchanged").prompts] == partners


# ---- a task of one's own, and what is refused


def own(tokenizer, **change):
    task = {
        "clean": ["When Mary and John arrived at the market", "When Mary and John arrived at the farm"],
        "answers": [" so", " to"],
        "distractors": [" to", " so"],
        "corrupted": {"place": ["When Mary and John arrived at the farm", "When Mary and John arrived at the market"]},
        "positions": {"place": ["market", "farm"]},
        "bos": True,
        "population": "fixed",
    }
    return from_strings(tokenizer, **{**task, **change})


def test_a_task_from_lists_of_strings(tokenizer):
    data = own(tokenizer)
    (group,) = data.clean.groups
    assert [word_at(tokenizer, group, "place", i) for i in range(2)] == ["market", "farm"]
    assert data.run("place").prompts[0].text.endswith("farm")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answers": [" so"]}, "answers has 1 entries for 2 prompts"),
        ({"answers": [" so to", " to"]}, r"' so to' is 2 tokens here .*use a word of one token"),
        ({"answers": [" xyzzy", " to"]}, "not in the tokenizer's vocabulary"),
        ({"answers": [" to", " to"]}, "the answer and the distractor of .* are both ' to'"),
        ({"positions": {"place": ["hotel", "farm"]}}, "position place: 'hotel' is not in the prompt"),
        ({"positions": {"END": ["market", "farm"]}}, "END is always the last token"),
        ({"corrupted": {"place": ["When Mary arrived", "When Mary arrived"]}}, "has 4 tokens, its clean prompt"),
        ({"clean": [], "answers": [], "distractors": [], "corrupted": {}, "positions": {}}, "at least one prompt"),
        ({"population": "banana"}, "population is 'banana'; pass 'fixed' .* or 'sampled'"),
        (
            {"population": "sampled"},
            "'sampled' and templates has 0 different ones: an interval is over",
        ),
        ({"population": "sampled", "templates": ["a", "a"]}, "templates has 1 different ones"),
        ({"bos": "yes"}, "bos is 'yes'; pass True .* or False"),
        ({"bos": None}, "bos is None; pass True"),
        (
            {"corrupted": {"clean": ["When Mary and John arrived at the farm"] * 2}},
            "is called 'clean', .*; give it another",
        ),
        ({"positions": {"place": ["market", ""]}}, "position place of prompt 1, 'When .*': the word '' is empty"),
        (
            {"positions": {"place": [" ", "farm"]}},
            "position place of prompt 0, 'When .*': the word ' ' is empty",
        ),
        ({"clean": ["When Mary and John arrived at the market", ""], "positions": {}}, r"prompt 1 is empty \(''\)"),
        (
            {"clean": ["When Mary and John dined at the market", "When Mary and John arrived at the farm"]},
            "prompt 0, 'When Mary and John dined at the market': 'dined' is not in the tokenizer's vocabulary",
        ),
        (
            {
                "corrupted": {
                    "place": ["When Mary and John arrived at the farm", "When Mary and Zed arrived at the farm"]
                }
            },
            "prompt 1, 'When Mary and Zed arrived at the farm': 'Zed' is not in the tokenizer's vocabulary",
        ),
        (
            {"clean": "When Mary and John arrived at the market"},
            "clean is 'When .*'; pass a list of strings",
        ),
        ({"answers": [5, 7]}, "answers has the entry 5; pass strings"),
    ],
)
def test_bad_tasks_get_a_sentence(tokenizer, change, message):
    with pytest.raises(UsageError, match=message):
        own(tokenizer, **change)


def test_a_mark_inside_a_token_is_refused(tokenizer):
    with pytest.raises(UsageError, match="pass a whole word of it"):
        own(tokenizer, positions={"place": ["mark", "far"]})


def test_too_few_names_and_unknown_halves(tokenizer):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    bare = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<unk>": 0}, unk_token="<unk>")), unk_token="<unk>"
    )
    with pytest.raises(UsageError, match="only 0 of .* first names are single tokens"):
        ioi(bare, half="all", n=8, seed=0, bos=False)
    with pytest.raises(UsageError, match="half is 'both'"):
        ioi(tokenizer, half="both", n=8, seed=0, bos=False)
    with pytest.raises(UsageError, match="no BOS token"):
        own(bare, bos=True)
