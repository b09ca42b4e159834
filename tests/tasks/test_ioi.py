"""IOI prompts as they are chosen."""

import re
from collections import Counter

from pytest_interp.tasks import ioi_wordings, single_token_names
from pytest_interp.tasks.ioi_words import FURTHER_TEMPLATES, TEMPLATES


def test_one_prompt_as_it_is_chosen(planted):
    from pytest_interp.tasks import ioi_grid, ioi_prompt

    io, s, *_ = single_token_names(planted.tokenizer, "confirm")
    grid = ioi_grid(planted.tokenizer, [(io, s)], half="confirm", bos=True)
    texts = [
        ioi_prompt(
            planted.tokenizer, io, s, wording=wording, order=order, place=0, thing=0, half="confirm", bos=True
        ).clean.prompts[0].text
        for wording in range(12)
        for order in ("ABBA", "BABA")
    ]  # fmt: skip
    assert texts == [prompt.text for prompt in grid.clean.prompts]


def test_further_wordings_are_written_as_the_usual_ones():
    templates = (*TEMPLATES, *FURTHER_TEMPLATES)
    assert len(set(templates)) == 80
    for template in templates:
        assert re.findall(r"\{([ABS])\}", template) == ["A", "B", "S"]
        assert template.endswith(" to")
        assert not template.startswith("{")


def test_many_wordings_have_each_template_once_in_alternating_orders(gpt2_tokenizer):
    finding, confirming = (
        ioi_wordings(gpt2_tokenizer, half=half, n=40, seed=0, bos=True) for half in ("find", "confirm")
    )
    for data in (finding, confirming):
        assert Counter(prompt.tags["order"] for prompt in data.clean.prompts) == {"ABBA": 20, "BABA": 20}
        assert Counter(data.sample.clusters).most_common(1)[0][1] == 1
    assert not set(finding.sample.clusters) & set(confirming.sample.clusters)
    both = ioi_wordings(gpt2_tokenizer, half="find", n=80, seed=0, bos=True)
    cells = {(prompt.template, prompt.tags["order"]) for prompt in both.clean.prompts}
    assert len(cells) == 80
