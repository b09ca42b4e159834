"""The names under which a checkpoint's activations are found, and which of them are worth keeping."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pytest_interp.checkpoints.hooks import with_other_layers
from pytest_interp.checkpoints.memo import bytes_of_sites
from pytest_interp.checkpoints.stream import POST_NORM, Outlet
from pytest_interp.checkpoints.weights import Shape
from pytest_interp.errors import NotApplicable, UsageError

if TYPE_CHECKING:
    from pytest_interp.tasks import Group

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


class Sites:
    """The hook points of a bridge.

    Attributes:
        sites: the names of all that the architecture has.
    """

    sites: Collection[str]
    name: str
    shape: Shape
    budget: int
    _normed: bool
    _outlet: Outlet
    _ignored: frozenset[str]

    def hook(self, site: str, layer: int) -> str:
        """The hook name of a site such as ``z`` at a layer.

        Raises:
            UsageError: no such site; NotApplicable: this architecture lacks it.
        """
        if site not in _HOOKS:
            raise UsageError(f"{site!r} is not a site; allowed: {', '.join(_HOOKS)}")
        name = _HOOKS[site].format(layer)
        if name not in self.sites:
            raise NotApplicable(f"{self.name} has no {site} at layer {layer}")
        return name

    def refuse_edits(self, site: str) -> None:
        """From now on edits of a site are not applicable: the model shows it, and does not read it."""
        self._ignored |= {_HOOKS[site].partition("{}.")[2]}

    def check_edits(self, names: Iterable[str]) -> None:
        """Accepts hook names that the model reads.

        Raises:
            NotApplicable: edits of one are ignored.
        """
        for name in names:
            if name.split(".", 2)[-1] in self._ignored:
                raise NotApplicable(
                    f"{self.name} shows {name} and does not read it: an edit there would change nothing, so no effect "
                    "of it can be measured; what only reads it is right"
                )

    def with_other_layers(self, hooks: Sequence[str], groups: Sequence[Group]) -> list[str]:
        """These hooks, and the same ones of all other layers where that is not too much for so many prompts."""
        if self._bytes(hooks, groups) > self.budget // 2:
            return list(hooks)
        return with_other_layers(self.sites, hooks, self.shape.n_layers)

    def holds(self, groups: Sequence[Group]) -> bool:
        """Whether the residual stream of so many prompts, in every layer, is not too much to be kept."""
        return self._bytes(["resid_pre"], groups) <= self.budget

    def _bytes(self, hooks: Sequence[str], groups: Sequence[Group]) -> int:
        return sum(bytes_of_sites(self.shape, hooks, *group.tokens.shape) for group in groups)

    @property
    def usual_hooks(self) -> list[str]:
        """What is asked of most prompts: what heads attend to and what they write, and what no block has."""
        first = [f"blocks.0.{name}" for name in ("attn.hook_pattern", "attn.hook_z")]
        others = [*self.embedding_hooks.values(), *([self.scale_hook] if self.scale_hook else [])]
        return [name for name in (*first, *others) if name in self.sites]

    @property
    def embedding_hooks(self) -> Mapping[str, str]:
        """The hooks of what the residual stream starts from: token embedding, and position where it is added."""
        return self._outlet.start

    @property
    def scale_hook(self) -> str | None:
        """The hook of the final norm's scale, or None where the model has no final norm."""
        return "ln_final.hook_scale" if "ln_final.hook_scale" in self.sites and self._normed else None

    def write_scale_hook(self, layer: int) -> str | None:
        """The hook of the scale of the norm after attention, or None where there is none."""
        name = POST_NORM.format(layer)
        return name if name in self.sites else None
