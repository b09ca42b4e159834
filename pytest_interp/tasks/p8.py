"""The eight IOI prompts on which the documented figures of GPT-2 small rest.

They are the stimulus of TransformerLens's demos (Exploratory_Analysis_Demo, Activation_Patching_in_TL_Demo), and are
quoted because the figures depend on them. Each of four templates stands twice, with the two names exchanged. The
distractor is the subject, which is the wrong answer.
"""

from __future__ import annotations

from typing import Any

from pytest_interp.common.arguments import checked
from pytest_interp.tasks.dataset import DataSet, build
from pytest_interp.tasks.positions import S2
from pytest_interp.tasks.prompts import Prompt

_P8 = (
    ("When John and Mary went to the shops,{S} gave the bag to", " Mary", " John"),
    ("When Tom and James went to the park,{S} gave the ball to", " Tom", " James"),
    ("When Dan and Sid went to the shops,{S} gave an apple to", " Dan", " Sid"),
    ("After Martin and Amy went to the park,{S} gave a drink to", " Martin", " Amy"),
)


@checked
def p8(tokenizer: Any, *, bos: bool = True) -> DataSet:
    """The eight prompts in their published order, with the corruption ``s2-exchanged``; a fixed population.

    With GPT-2's tokenizer and BOS, as for the published figures, each prompt has 15 tokens, S2 at 10 and END at 14.

    Args:
        tokenizer: a Hugging Face tokenizer.
        bos: whether BOS stands before each prompt.

    Raises:
        UsageError: a name of several tokens, or a word that the tokenizer does not know.
    """
    clean, exchanged = [], []
    for template, first, second in _P8:
        for answer, subject in ((first, second), (second, first)):
            before, after = template.split("{S}")

            def fill(
                name: str, before: str = before, after: str = after, pair: tuple[str, str] = (answer, subject)
            ) -> Prompt:
                text = before + name + after
                marks = {S2: len(before + name)}
                return Prompt(text, pair[0], pair[1], marks, before, {"IO": pair[0].strip(), "S": pair[1].strip()})

            clean.append(fill(subject))
            exchanged.append(fill(answer))
    return build(tokenizer, clean, {"s2-exchanged": exchanged}, None, bos=bos, name="p8", population="fixed", seed=None)
