"""The sizes of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pytest_interp.heads import Head


@dataclass(frozen=True)
class Shape:
    """How many layers, heads and dimensions a model has.

    Attributes:
        n_layers: of blocks.
        n_heads: query heads of each layer.
        n_kv_heads: key-value heads of each layer; as many as query heads unless these share them.
        d_head: the width of a head.
        d_model: the width of the residual stream.
        d_mlp: the width of the MLPs; 0 where there are none.
        d_vocab: tokens of the vocabulary.
        n_ctx: the most tokens that a prompt may have.
    """

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_model: int
    d_mlp: int
    d_vocab: int
    n_ctx: int

    @classmethod
    def of(cls, cfg: Any) -> Shape:
        """The shape in a bridge's configuration."""
        return cls(
            n_layers=cfg.n_layers,
            n_heads=cfg.n_heads,
            n_kv_heads=cfg.n_key_value_heads or cfg.n_heads,
            d_head=cfg.d_head,
            d_model=cfg.d_model,
            d_mlp=cfg.d_mlp or 0,
            d_vocab=cfg.d_vocab,
            n_ctx=cfg.n_ctx,
        )

    @property
    def heads(self) -> list[Head]:
        """All query heads, layer by layer.

        Example:
            >>> Shape(2, 2, 1, 4, 8, 0, 10, 16).heads
            [Head(layer=0, head=0), Head(layer=0, head=1), Head(layer=1, head=0), Head(layer=1, head=1)]
        """
        return [Head(layer, head) for layer in range(self.n_layers) for head in range(self.n_heads)]
