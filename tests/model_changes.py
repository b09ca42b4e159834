"""Changes of a model that can be undone, and what is measured under them."""

from contextlib import contextmanager

import torch
import torch.nn.functional as functional
from models import experiment_on

from pytest_interp.errors import NotApplicable
from pytest_interp.heads import Head
from pytest_interp.measure import attention, copy_score, direct_logit_attribution_sweep, head_patch_effect, logit_diff


class Unsuitable(Exception):
    """A change that a model does not allow."""


@contextmanager
def data_in_place(bridge):
    weight = last_output(bridge)
    saved = weight.data.clone()
    weight.data.zero_()
    yield
    weight.data.copy_(saved)


@contextmanager
def other_data(bridge):
    weight = last_output(bridge)
    saved = weight.data
    weight.data = torch.zeros_like(saved)
    yield
    weight.data = saved


@contextmanager
def other_parameter(bridge):
    linear = bridge.blocks[len(bridge.blocks) - 1].attn.o
    home = next(module for module in linear.modules() if "weight" in module._parameters)
    saved = home._parameters["weight"]
    home.weight = torch.nn.Parameter(torch.zeros_like(saved), requires_grad=False)
    yield
    home.weight = saved


@contextmanager
def embedding_of_one_name(bridge):
    """A row of the embedding that no fixed prompt reads."""
    row = bridge.embed.W_E.data[NAME_ROW : NAME_ROW + 8]
    saved = row.clone()
    row.zero_()
    yield
    row.copy_(saved)


@contextmanager
def module_hook(bridge):
    handle = bridge.blocks[len(bridge.blocks) - 1].attn.register_forward_hook(_nothing)
    yield
    handle.remove()


@contextmanager
def global_hook(bridge):
    last = bridge.blocks[len(bridge.blocks) - 1].attn
    handle = torch.nn.modules.module.register_module_forward_hook(
        lambda module, args, output: _nothing(module, args, output) if module is last else None
    )
    yield
    handle.remove()


@contextmanager
def replaced_softmax(bridge):
    saved = functional.softmax, torch.softmax, torch.Tensor.softmax
    flat = lambda x, dim=-1, **_: torch.ones_like(x) / x.shape[-1]  # noqa: E731
    functional.softmax = torch.softmax = torch.Tensor.softmax = flat
    yield
    functional.softmax, torch.softmax = saved[:2]
    del torch.Tensor.softmax


@contextmanager
def replaced_forward(bridge):
    attn = bridge.blocks[len(bridge.blocks) - 1].attn
    before = attn.forward
    vars(attn)["forward"] = lambda *args, **kwargs: _nothing(attn, args, before(*args, **kwargs))
    yield
    del vars(attn)["forward"]


@contextmanager
def exchanged_heads(bridge):
    """Two heads of a layer trade places: the logits stay as they are."""
    attn = bridge.blocks[len(bridge.blocks) - 1].attn
    views = [getattr(attn, f"W_{name}").data for name in "QKVO"]
    if len({len(view) for view in views}) > 1:
        raise Unsuitable("heads that share keys and values do not trade places alone")
    biases = [getattr(attn, name).bias for name in "qkv"]
    rows = [*views, *(bias.data.view(len(views[0]), -1) for bias in biases if bias is not None)]
    saved = [row.clone() for row in rows]
    for row in rows:
        row[[0, 3]] = row[[3, 0]].clone()
    yield
    for row, old in zip(rows, saved, strict=True):
        row.copy_(old)


CHANGES = [
    data_in_place,
    other_data,
    other_parameter,
    embedding_of_one_name,
    module_hook,
    global_hook,
    replaced_softmax,
    replaced_forward,
    exchanged_heads,
]
NAME_ROW = 2


def last_output(bridge):
    return bridge.blocks[len(bridge.blocks) - 1].attn.o.weight


def _nothing(_module, _args, output):
    return (torch.zeros_like(output[0]), *output[1:]) if isinstance(output, tuple) else torch.zeros_like(output)


def numbers(checkpoint):
    """What the claims of a suite mostly ask for, of a new handle on the same prompts."""
    experiment, head = experiment_on(checkpoint, n=8), Head(checkpoint.shape.n_layers - 1, 0)
    measures = [
        lambda: logit_diff(experiment).values,
        lambda: attention(experiment, head, at="END", to="IO").values,
        lambda: tuple(cell.value for cell in direct_logit_attribution_sweep(experiment).cells.values()),
        lambda: copy_score(checkpoint, head, names=["Mary", "John", "Paul"]).labels,
        lambda: head_patch_effect(experiment, [head], at="END").values,
    ]
    return [value_or_reason(measure) for measure in measures]


def value_or_reason(measure):
    """A change may leave a head nothing to write, or a patch nothing to recover."""
    try:
        return measure()
    except NotApplicable as error:
        return str(error)
