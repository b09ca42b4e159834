"""The populations that published figures rest on are those of their sources."""

import hashlib
import json
from collections import Counter

import pytest
from models import ROOT, module_of

PUBLISHED = ROOT / "claims" / "published"


@pytest.fixture(scope="module")
def populations():
    return module_of(PUBLISHED / "populations.py")


def digest(lines):
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def test_lists_are_those_of_the_sources(populations):
    """Length and hash of each list are documented with the figures."""
    lists = populations.lists()
    assert (len(lists["names"]["easy_transformer"]), len(lists["names"]["arena"])) == (99, 109)
    assert digest(lists["names"]["easy_transformer"]) == "945904850c6c348a"
    assert digest(lists["names"]["arena"]) == "940a1f10a763b4de"
    assert digest(lists["templates"]) == "b4d3c63e541381ae"
    assert len(set(lists["names"]["easy_transformer"]) & set(lists["names"]["arena"])) == 51


def test_seed_one_is_the_listed_set(populations):
    listed = json.loads((PUBLISHED / "ioi_seed001.json").read_text())["prompts"]
    drawn = populations.arena(1, 100)
    assert [(prompt.text, f" {prompt.io}", f" {prompt.s}") for prompt in drawn] == [
        (prompt["text"], prompt["io_text"], prompt["s_text"]) for prompt in listed
    ]
    assert populations.arena(1, 25) == drawn[:25]


@pytest.mark.parametrize(
    ("seed", "number", "text", "io"),
    [
        (42, 0, "Then, Alex and Anthony had a lot of fun at the school. Anthony gave a ring to", "Alex"),
        (42, 1, "Then, Connor and Roman were working at the house. Roman decided to give a basketball to", "Connor"),
        (0, 0, "Then, Sarah and Arthur had a lot of fun at the hospital. Arthur gave a bone to", "Sarah"),
    ],
)
def test_other_seeds_begin_as_their_notebooks_print(populations, seed, number, text, io):
    prompt = populations.arena(seed, 2)[number]
    assert (prompt.text, prompt.io) == (text, io)


def test_symmetric_prompts_come_in_pairs(populations):
    drawn = populations.arena(42, 100, symmetric=True)
    assert [(pair.io, pair.s) for pair in drawn[::2]] == [(other.s, other.io) for other in drawn[1::2]]
    assert [pair.template for pair in drawn[::2]] == [other.template for other in drawn[1::2]]


def test_enumerated_prompts_are_balanced(populations):
    drawn = populations.enumerated()
    assert len(drawn) == 15 * 33
    assert set(Counter(prompt.s for prompt in drawn).values()) == {5}
    assert set(Counter(prompt.io for prompt in drawn).values()) == {5}
    assert set(Counter(prompt.template for prompt in drawn).values()) == {33}
    assert all(
        prompt.text.index(prompt.s) < prompt.text.index(prompt.io) for prompt in drawn if prompt.s not in prompt.io
    )


def test_enumerated_prompts_of_a_name_a_pair_and_a_template(populations):
    of_name = populations.enumerated(s="Lisa")
    assert {prompt.s for prompt in of_name} == {"Lisa"}
    assert len(of_name) >= 15 * 32
    assert len({prompt.io for prompt in of_name}) == 98
    of_pair = populations.enumerated(s="Lisa", io="Katie")
    assert len(of_pair) == 960
    assert {(prompt.io, prompt.s) for prompt in of_pair} == {("Katie", "Lisa")}
    of_template = populations.enumerated(template="Then, [B] and [A] had a long argument, and")
    assert set(Counter(prompt.s for prompt in of_template).values()) == {2}
    assert len({prompt.template for prompt in of_template}) == 1


def test_mentions_name_a_name_once_more(populations):
    for name, counts in (("IO", (2, 2)), ("S", (1, 3))):
        drawn = populations.mentioned(name)
        assert len(drawn) > 300
        for prompt in drawn:
            words = prompt.text.replace(",", "").replace(".", "").split()
            assert (words.count(prompt.io), words.count(prompt.s)) == counts, prompt.text


def test_all_names_are_single_tokens_of_gpt2(populations, gpt2_tokenizer):
    for names in populations.lists()["names"].values():
        assert all(len(gpt2_tokenizer(f" {name}")["input_ids"]) == 1 for name in names)


def test_names_stand_at_their_first_mention_and_s2_at_its_last():
    from claims.published.stimuli import name_positions

    io, s, other = 7, 8, 1
    prompts = [[other, s, other, io, s, other], [s, io, s, other, s]]
    assert name_positions(prompts, [(io, s), (io, s)]) == {"IO": [3, 1], "S1": [1, 0], "S1+1": [2, 1], "S2": [4, 4]}


def test_prompts_about_either_name_are_compared_template_by_template(populations):
    """The gap between them is taken within each template."""
    about_io, about_s = (populations.mentioned(name) for name in ("IO", "S"))
    assert [prompt.template for prompt in about_io] == [prompt.template for prompt in about_s]
    assert all(first.text != second.text for first, second in zip(about_io, about_s, strict=True))
