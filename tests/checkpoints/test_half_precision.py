"""In bfloat16 and float16 every measurement and assertion gives a number, or says why there is none."""

from contextlib import suppress

import pytest
from bad_arguments import valid_calls
from models import experiment_on, random_gpt2, random_llama

from pytest_interp import Checkpoint, CheckpointSpec, Experiment
from pytest_interp.checkpoints import known_specs
from pytest_interp.errors import ClaimFailed, InterpError
from pytest_interp.measure import logit_lens_sweep
from pytest_interp.tasks import repeated_tokens


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float16", marks=pytest.mark.thorough)])
@pytest.mark.parametrize("model", [None, random_gpt2, random_llama], ids=["planted", "gpt2", "llama"])
def test_every_measurement_and_assertion_runs(model, dtype, tokenizer):
    spec = known_specs()["planted-ioi"]
    if model is not None:
        spec = CheckpointSpec("small", loader=lambda: (model(tokenizer, n_layer=5), tokenizer), bos=True)
    checkpoint = Checkpoint(spec, dtype=dtype)
    on, find = experiment_on(checkpoint, 6), experiment_on(checkpoint, 6, "find")
    twice = Experiment(
        checkpoint, repeated_tokens(checkpoint.tokenizer, length=5, n=2, seed=1, bos=True, complete=True)
    )
    for call in valid_calls(on, find, twice, tokenizer):
        if call.name.startswith(("measure ", "assert ")):
            with suppress(InterpError, ClaimFailed):  # a random model does no task
                call.run()
    for norm in ("live", "frozen"):
        for metric in ("logit_diff", "rank"):
            assert logit_lens_sweep(on, metric=metric, norm=norm)
