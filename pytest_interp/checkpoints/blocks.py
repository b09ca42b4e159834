"""A bridge's own blocks, driven one by one: a pass that starts at a layer and at a position.

A change at layer L and position p reaches nothing below L and, attention being causal, nothing before p. So such a
pass takes the residual stream at the entry of L from an unedited one, with the keys and values of the positions
before p, and runs only what comes after. Norms, rotation, gating and shared key-value heads are those of the
model's own blocks; what each block has to be given beside the residual stream is taken from an ordinary pass.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from pytest_interp.checkpoints.hooks import Edit, hooked, hooks_of
from pytest_interp.checkpoints.resume import KeyValues, Prepared, Resumed, Way
from pytest_interp.tolerance import FLOAT_NOISE

if TYPE_CHECKING:
    from jaxtyping import Int
    from torch import Tensor


class Blocks:
    """The blocks of a bridge."""

    def __init__(self, bridge: Any, precision: str) -> None:
        self.bridge, self.precision = bridge, precision
        self.n_layers = len(bridge.blocks)
        self.points: Mapping[str, Any] = dict(bridge.hook_dict)
        self._given: dict[int, list[tuple[Any, Any]]] = {}
        self._ways: dict[int, Way] = {}
        self._ends: dict[int, bool] = {}
        slow = {"NewGELUActivation"}  # the formula of torch's kernel in nine steps, each through memory
        modules = (module for module in bridge.original_model.modules() if type(module).__name__ in slow)
        self._gelus = [module for module in modules if "forward" not in vars(module)]

    @property
    def hooks(self) -> list[str]:
        """The hook names whose activations a pass leaves for others to start from."""
        entries = [f"blocks.{layer}.hook_resid_pre" for layer in range(self.n_layers)]
        return [*entries, f"blocks.{self.n_layers - 1}.hook_resid_post"]

    def prepare(
        self,
        tokens: Int[Tensor, "row pos"],
        run: Callable[[Sequence[str]], tuple[Tensor, Mapping[str, Tensor]]],
        keep: Sequence[str] = (),
    ) -> Prepared:
        """What an unedited pass leaves, and whether the blocks can be driven: tried on the first prompt.

        Args:
            tokens: the prompts.
            run: makes the pass over them and keeps activations; returns the logits at END, and what was kept.
            keep: other activations that are kept.
        """
        cache, length = KeyValues(), tokens.shape[1]
        with self._attending(cache), self._seeing(tokens.shape):
            logits, kept = run(list(dict.fromkeys([*self.hooks, *keep])))
        also = {name: kept[name] for name in keep}
        prepared = Prepared([kept[name] for name in self.hooks], logits, cache.seen, "position", also)
        if length not in self._ways:
            with torch.inference_mode():
                self._ways[length] = self._way(prepared)
        way = self._ways[length]
        if way == "whole":
            return Prepared((), logits, {}, way, also)
        return prepared._replace(way=way, cache=cache.seen if way == "position" else {})

    def again(self, prepared: Prepared, hooks: Sequence[str]) -> Mapping[str, Tensor]:
        """Other activations of the pass that prepared these: of blocks, each of which runs once more, alone."""
        entries = dict(zip(self.hooks, prepared.residual, strict=True))
        entries |= {f"blocks.{layer}.hook_resid_post": prepared.residual[layer + 1] for layer in range(self.n_layers)}
        found = {hook: entries[hook] for hook in hooks if hook in entries}
        by_layer: dict[int, list[str]] = {}
        for hook in hooks:
            if hook not in found:
                by_layer.setdefault(int(hook.split(".")[1]), []).append(hook)
        rows = torch.arange(len(prepared.residual[0]), device=prepared.residual[0].device)
        for layer, some in by_layer.items():
            found |= self.resume(prepared, rows, [layer], 0, keep=some, until=layer).kept
        return found

    def resume(
        self,
        prepared: Prepared,
        rows: Int[Tensor, " row"],
        layers: Sequence[int],
        start: int,
        *,
        edits: Mapping[str, Edit] = {},
        keep: Sequence[str] = (),
        until: int | None = None,
        attend: bool = True,
        end: bool = False,
    ) -> Resumed:
        """Runs several passes over the same rows in one batch, from a position on, each joining at its layer.

        Args:
            prepared: of the prompts.
            rows: which of them.
            layers: the first block that runs of each pass, in ascending order. The batch of a block holds the rows of
                the passes that have joined, one pass after the other.
            start: the first position that is computed.
            edits: hook name -> what replaces that activation, which begins at ``start``.
            keep: hook names; each is kept as it is after its edit.
            until: the last block that runs; None for all.
            attend: whether what attention reads before ``start`` matters; not where all of its output is replaced.
            end: whether END alone is read of the residual stream; then the last MLP runs there alone.
        """
        bridge = self.bridge
        kept: dict[str, Tensor] = {}

        def before(index: int) -> tuple[Tensor, Tensor]:
            keys, values = (part[rows, :, :start] for part in prepared.cache[index])
            return keys, values

        last = self.n_layers - 1 if until is None else until
        length = prepared.residual[0].shape[1]
        given = self._given[length]
        last_names = [name for name in (*edits, *keep) if name.startswith(f"blocks.{last}.")]
        ended = end and self._ends.get(length, True) and all(".attn." in name for name in last_names)
        x = prepared.residual[0][:0, start:]
        with (
            torch.inference_mode(),
            hooked(self.points, hooks_of(edits, keep, kept)),
            self._attending(KeyValues(before) if start and attend else None),
            self._quick(last if ended else None),
        ):
            for index in range(layers[0], last + 1):
                if joining := layers.count(index):
                    x = torch.cat([x, prepared.residual[index][rows, start:].repeat(joining, 1, 1)])
                args, kwargs = _tail(given[index], length - start, length)
                out = bridge.blocks[index](x, *args, **kwargs)
                x = out[0] if isinstance(out, tuple) else out
        return Resumed(x, kept)

    @contextmanager
    def _quick(self, ended: int | None) -> Iterator[None]:
        """The model's own parts where they waste nothing: a kernel for GELU, and a layer whose MLP runs at END alone.

        What a block adds to its residual stream then has one position, which is added to all of them: those before
        END are wrong, and nobody reads them.
        """

        def at_end(_: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return args[0][:, -1:], *args[1:]

        norm = None if ended is None else getattr(self.bridge.blocks[ended], "ln2", None)
        handle = norm.register_forward_pre_hook(at_end) if norm is not None else None
        try:
            for gelu in self._gelus:
                gelu.forward = _gelu
            yield
        finally:
            for gelu in self._gelus:
                vars(gelu).pop("forward", None)
            if handle:
                handle.remove()

    def _way(self, prepared: Prepared) -> Way:
        """From where the first prompt, resumed without any edit, ends with the logits that it had."""
        expected, middle = prepared.logits[:1], prepared.residual[0].shape[1] // 2
        allowed = FLOAT_NOISE[self.precision] * max(1.0, float(expected.abs().max()) / 20)
        ways: tuple[tuple[Way, int], ...] = (("position", middle), ("layer", 0))
        for way, start in ways:
            if way == "position" and len(prepared.cache) < self.n_layers:
                continue
            if self._ends_as(expected, allowed, prepared, start, end=False):
                self._ends[prepared.residual[0].shape[1]] = self._ends_as(expected, allowed, prepared, start, end=True)
                return way
        return "whole"

    def _ends_as(self, expected: Tensor, allowed: float, prepared: Prepared, start: int, *, end: bool) -> bool:
        row = torch.zeros(1, dtype=torch.long, device=expected.device)
        try:
            last = self.resume(prepared, row, [0], start, end=end).residual[:, -1:]
            got = self.bridge.unembed(self.bridge.ln_final(last))[:, 0].float()
        except (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError):
            return False  # blocks that take something else than the one pass showed
        return bool((got - expected).abs().max() <= allowed)

    @contextmanager
    def _seeing(self, shape: Sequence[int]) -> Iterator[None]:
        """Remembers what each block is given beside the residual stream, for prompts of this length."""
        rows, length = shape
        given: dict[int, tuple[Any, Any]] = {}

        def see(index: int) -> Callable[..., None]:
            def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                more = {name: value for name, value in kwargs.items() if args or name != "hidden_states"}
                given[index] = _first(args[1:], rows), _first(more, rows)

            return hook

        blocks = [] if length in self._given else enumerate(self.bridge.blocks)
        handles = [block.register_forward_pre_hook(see(index), with_kwargs=True) for index, block in blocks]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        if given:
            self._given[length] = [given[index] for index in range(self.n_layers)]

    @contextmanager
    def _attending(self, cache: KeyValues | None) -> Iterator[None]:
        """Attention that gets this for its key-value cache, whatever the model's own code calls its own."""

        def give(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
            return args, {**kwargs, "past_key_values": cache}

        handles = []
        if cache is not None:
            handles = [
                block.attn.register_forward_pre_hook(give, with_kwargs=True)
                for block in self.bridge.blocks
                if hasattr(block, "attn")
            ]
        try:
            with warnings.catch_warnings():
                # Attention that takes the model's own cache instead (OPT): then passes start at a layer.
                warnings.filterwarnings("ignore", "Both `past_key_values` and `cache` are set", FutureWarning)
                yield
        finally:
            for handle in handles:
                handle.remove()


def _gelu(value: Tensor) -> Tensor:
    return torch.nn.functional.gelu(value, approximate="tanh")


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A change of every tensor in what a block is given; the model's own cache is left out, ours takes its place."""
    if isinstance(value, tuple | list):
        return type(value)(_each(item, change) for item in value)
    if isinstance(value, dict):
        return {name: _each(item, change) for name, item in value.items()}
    if hasattr(value, "update"):
        return None
    return change(value) if isinstance(value, torch.Tensor) else value


def _first(value: Any, rows: int) -> Any:
    """What belongs to the first prompt, as one that all share: no prompt is padded."""
    return _each(value, lambda one: one[:1] if one.ndim > 1 and len(one) == rows else one)


def _tail(value: Any, count: int, length: int) -> Any:
    """What belongs to the last positions: of masks by destination, of position ids and embeddings."""

    def tail(one: Tensor) -> Tensor:
        axis = {1: 0, 2: 1, 3: 1, 4: 2}.get(one.ndim)
        if axis is None or one.shape[axis] != length:
            return one
        return one.narrow(axis, length - count, count)

    return _each(value, tail)
