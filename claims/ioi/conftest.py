"""What claims about IOI prompts share."""

import pytest


@pytest.fixture(scope="session")
def at_index_minus_one():
    """What a reader of index -1 of right-padded prompts sees: the logit difference there, one for each prompt.

    A data set of this project is never padded; here it is done by hand, as in notebooks, to show what it does.
    """

    def read(experiment):
        import torch

        groups, checkpoint = experiment.data.clean.groups, experiment.checkpoint
        longest, pad = max(group.tokens.shape[1] for group in groups), checkpoint.tokenizer.eos_token_id
        seen = [0.0] * len(experiment.data.clean)
        for group in groups:
            padding = torch.full((len(group.rows), longest + 1 - group.tokens.shape[1]), pad)
            logits = checkpoint.run(torch.cat([group.tokens, padding], dim=1)).logits
            for i, row in enumerate(group.rows):
                seen[row] = float(logits[i, group.answers[i]] - logits[i, group.distractors[i]])
        return seen

    return read
