"""The names of a model's hook points: by site and layer, and those that measurements ask for most."""

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
        unread: hook names without their layer (``attn.hook_pattern``) that the model shows and does not read.
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
            >>> checkpoint.sites.hook("z", 3)  # doctest: +SKIP
            'blocks.3.attn.hook_z'
        """
        if site not in _HOOKS:
            raise UsageError(f"{site!r} is not a site; allowed: {', '.join(_HOOKS)}")
        name = _HOOKS[site].format(layer)
        if name not in self.names:
            raise NotApplicable(f"{self.checkpoint_name} has no {site} at layer {layer}")
        return name

    def refuse_edits(self, site: str) -> None:
        """From now on edits of a site are not applicable: the model shows it, and does not read it."""
        self.unread.add(_HOOKS[site].partition("{}.")[2])

    def check_edits(self, names: Iterable[str]) -> None:
        """Accepts hook names that the model reads.

        Raises:
            NotApplicable: edits of one are ignored.
        """
        for name in names:
            if name.split(".", 2)[-1] in self.unread:
                raise NotApplicable(
                    f"{self.checkpoint_name} shows {name} and does not read it: an edit there would change nothing, so "
                    "no effect of it can be measured; what only reads it is right"
                )

    @property
    def usual_hooks(self) -> list[str]:
        """What is asked of most prompts: patterns and z of layer 0, the embeddings, the final norm's scale."""
        first = [f"blocks.0.{name}" for name in ("attn.hook_pattern", "attn.hook_z")]
        others = [*self.embedding_hooks.values(), *([self.scale_hook] if self.scale_hook else [])]
        return [name for name in (*first, *others) if name in self.names]

    @property
    def scale_hook(self) -> str | None:
        """The hook of the final norm's scale, or None where the model has no final norm."""
        return "ln_final.hook_scale" if "ln_final.hook_scale" in self.names and self.has_final_norm else None

    def write_scale_hook(self, layer: int) -> str | None:
        """The hook of the scale of the norm after attention, or None where there is none."""
        name = POST_NORM.format(layer)
        return name if name in self.names else None
