"""IOI prompts as they are chosen."""

from pytest_interp.tasks import single_token_names


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
