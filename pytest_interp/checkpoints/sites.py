"""The names of a model's hook points: by site and layer, and those that measurements use most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pytest_interp.checkpoints.stream import POST_NORM
from pytest_interp.errors import NotApplicable, UsageError

_HOOKS = {
    "resid_pre": "blocks.{}.hook_resid_pre",
    "resid_mid": "blocks.{}.hook_resid_mid",
    "resid_post": "blocks.{}.hook_resid_post",
    "attn_out": "blocks.{}.hook_attn_out",
    "mlp_out": "blocks.{}.hook_mlp_out",
    "q": "blocks.{}.attn.hook_q",
    "k": "blocks.{}.attn.hook_k",
    "v": "blocks.{}.attn.hook_v",
    "z": "blocks.{}.attn.hook_z",
    "rot_q": "blocks.{}.attn.hook_rot_q",
    "rot_k": "blocks.{}.attn.hook_rot_k",
    "pattern": "blocks.{}.attn.hook_pattern",
}


@dataclass(frozen=True, eq=False, repr=False)
class Sites:
    """The hook points that a model has.

    Attributes:
        names: of all hook points.
        checkpoint_name: for messages.
        embedding_hooks: the hooks of what the residual stream starts from, by component: ``embed``, and ``pos_embed``
            where it is added.
        has_final_norm: whether the residual stream passes a norm before the unembedding.
        unread: hook names without their layer (``attn.hook_pattern``) of activations that the model shows but does not
            read.
    """

    names: frozenset[str]
    checkpoint_name: str
    embedding_hooks: Mapping[str, str]
    has_final_norm: bool
    unread: set[str]

    def hook(self, site: str, layer: int) -> str:
        """The hook name of a site at a layer.

        Args:
            site: ``resid_pre``, ``resid_mid``, ``resid_post``, ``attn_out``, ``mlp_out``, ``q``, ``k``, ``v``, ``z``,
                ``rot_q``, ``rot_k`` or ``pattern``.
            layer: from 0.

        Raises:
            UsageError: no such site.
            NotApplicable: this architecture lacks it.

        Example:
            >>> from pytest_interp import load
            >>> load("planted-ioi").sites.hook("z", 3)
            'blocks.3.attn.hook_z'
        """
        if site not in _HOOKS:
            raise UsageError(f"{site!r} is not a site; allowed: {', '.join(_HOOKS)}")
        name = _HOOKS[site].format(layer)
        if name not in self.names:
            raise NotApplicable(f"{self.checkpoint_name} has no {site} at layer {layer}")
        return name

    def refuse_edits(self, site: str) -> None:
        """Makes edits of a site not applicable from now on, since the model shows it but does not read it."""
        self.unread.add(_HOOKS[site].partition("{}.")[2])

    def check_edits(self, names: Iterable[str]) -> None:
        """Accepts edits at these hook names.

        Raises:
            NotApplicable: the model does not read one of them, so an edit there changes nothing.
        """
        for name in names:
            if name.split(".", 2)[-1] in self.unread:
                raise NotApplicable(
                    f"{self.checkpoint_name} shows {name} and does not read it: an edit there would change nothing, so "
                    "no effect of it can be measured; what only reads it is right"
                )

    @property
    def usual_hooks(self) -> list[str]:
        """The hooks that are read of most prompts: pattern and z of layer 0, the embeddings, the final norm's scale."""
        attention = [f"blocks.0.{name}" for name in ("attn.hook_pattern", "attn.hook_z")]
        scale = [self.scale_hook] if self.scale_hook else []
        return [name for name in (*attention, *self.embedding_hooks.values(), *scale) if name in self.names]

    @property
    def scale_hook(self) -> str | None:
        """The hook of the final norm's scale, or None where the model has no final norm."""
        return "ln_final.hook_scale" if "ln_final.hook_scale" in self.names and self.has_final_norm else None

    def write_scale_hook(self, layer: int) -> str | None:
        """The hook of the scale of the norm after attention, by layer from 0; None where there is no such norm."""
        name = POST_NORM.format(layer)
        return name if name in self.names else None
