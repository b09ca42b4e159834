"""GPT-2 in numpy, written apart from the package: what published figures should be on a model that is at hand.

Weights are read from a directory of transformers. They are processed by hand as TransformerLens's compatibility mode
does: norms folded, residual stream and logits centred, value biases folded into the output bias. Everything is float64.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Edit: TypeAlias = Callable[[Array], Array]
Edits: TypeAlias = Mapping[tuple[str, int], Edit]
"""By site and layer: the activation that takes the place of the one that is passed in."""


@dataclass(frozen=True)
class Prompts:
    """Prompts of one token length.

    Attributes:
        tokens: shape ``(prompt, position)``.
        answers: token ids, shape ``(prompt,)``.
        distractors: token ids, shape ``(prompt,)``.
    """

    tokens: NDArray[np.int64]
    answers: NDArray[np.int64]
    distractors: NDArray[np.int64]

    @classmethod
    def of(cls, tokens: Sequence[Sequence[int]], answers: Sequence[int], distractors: Sequence[int]) -> Prompts:
        return cls(np.array(tokens), np.array(answers), np.array(distractors))


@dataclass(frozen=True)
class Run:
    """A forward pass.

    Attributes:
        sites: activations by name and layer. ``resid_pre``, ``resid_mid``, ``resid_post``, ``attn_out``, ``mlp_out``
            have the shape ``(prompt, position, d_model)``; ``q``, ``k``, ``v``, ``z`` have
            ``(prompt, position, head, d_head)``; ``pattern`` has ``(prompt, head, query, key)``.
        stream: after the last block, shape ``(prompt, position, d_model)``.
        scale: the final norm's, shape ``(prompt, position)``.
    """

    sites: dict[tuple[str, int], Array]
    stream: Array
    scale: Array


class Reference:
    """A GPT-2 with processed weights.

    Args:
        folder: ``config.json`` and ``model.safetensors``, as ``save_pretrained`` writes them.
        fold_value_biases: whether value biases become part of the output bias.
    """

    def __init__(self, folder: Path, *, fold_value_biases: bool = True) -> None:
        from safetensors.numpy import load_file

        config = json.loads((folder / "config.json").read_text())
        raw = {
            name.removeprefix("transformer."): array for name, array in load_file(folder / "model.safetensors").items()
        }
        weights = {name: array.astype(np.float64) for name, array in raw.items()}
        self.n_layers, self.n_heads = config["n_layer"], config["n_head"]
        self.epsilon = config["layer_norm_epsilon"]
        self.embed, self.positions = _centred(weights["wte.weight"]), _centred(weights["wpe.weight"])
        self.blocks = [self._block(weights, f"h.{layer}.", fold_value_biases) for layer in range(self.n_layers)]
        unembed = weights.get("lm_head.weight", weights["wte.weight"]).T
        bias = weights["ln_f.bias"] @ unembed
        unembed = _centred(weights["ln_f.weight"][:, None] * unembed, axis=0)
        self.unembed, self.unembed_bias = _centred(unembed), _centred(bias)
        self._runs: dict[bytes, Run] = {}

    def _block(self, weights: Mapping[str, Array], prefix: str, fold_value_biases: bool) -> dict[str, Array]:
        of = {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}
        d_model = len(of["ln_1.weight"])
        heads = (self.n_heads, d_model // self.n_heads)
        bias = of["attn.c_attn.bias"] + of["ln_1.bias"] @ of["attn.c_attn.weight"]
        weight = _centred(of["ln_1.weight"][:, None] * of["attn.c_attn.weight"], axis=0)
        block = {}
        for i, name in enumerate("qkv"):
            columns = slice(i * d_model, (i + 1) * d_model)
            block[f"W_{name}"] = weight[:, columns].reshape(d_model, *heads)
            block[f"b_{name}"] = bias[columns].reshape(heads)
        output, output_bias = of["attn.c_proj.weight"], of["attn.c_proj.bias"]
        if fold_value_biases:
            output_bias = output_bias + block["b_v"].reshape(-1) @ output
            block["b_v"] = np.zeros(heads)
        block["W_o"], block["b_o"] = _centred(output).reshape(*heads, d_model), _centred(output_bias)
        block["b_in"] = of["mlp.c_fc.bias"] + of["ln_2.bias"] @ of["mlp.c_fc.weight"]
        block["W_in"] = _centred(of["ln_2.weight"][:, None] * of["mlp.c_fc.weight"], axis=0)
        block["W_out"], block["b_out"] = _centred(of["mlp.c_proj.weight"]), _centred(of["mlp.c_proj.bias"])
        return block

    # ---- passes

    def run(
        self, tokens: NDArray[np.int64], edits: Edits | None = None, resumed: tuple[int, Array] | None = None
    ) -> Run:
        """A forward pass, with some activations replaced.

        Args:
            tokens: shape ``(prompt, position)``.
            edits: what replaces which activation.
            resumed: a layer and the residual stream before it, where the pass starts; None for the embeddings.
        """
        edits = edits or {}
        sites: dict[tuple[str, int], Array] = {}

        def site(name: str, layer: int, value: Array) -> Array:
            sites[name, layer] = edits[name, layer](value) if (name, layer) in edits else value
            return sites[name, layer]

        length = tokens.shape[1]
        future = np.triu(np.ones((length, length), dtype=bool), 1)
        first, stream = resumed or (0, self.embed[tokens] + self.positions[:length])
        for layer, block in list(enumerate(self.blocks))[first:]:
            stream = site("resid_pre", layer, stream)
            normed = self.normed(stream)
            q, k, v = (
                site(name, layer, np.tensordot(normed, block[f"W_{name}"], 1) + block[f"b_{name}"]) for name in "qkv"
            )
            # From here heads before positions: matrix products, which are much faster than np.einsum.
            scores = q.swapaxes(1, 2) @ k.transpose(0, 2, 3, 1) / np.sqrt(q.shape[-1])
            scores = np.where(future, -np.inf, scores)
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            pattern = site("pattern", layer, scores / scores.sum(-1, keepdims=True))
            z = site("z", layer, (pattern @ v.swapaxes(1, 2)).swapaxes(1, 2))
            stream = stream + site("attn_out", layer, np.tensordot(z, block["W_o"], 2) + block["b_o"])
            stream = site("resid_mid", layer, stream)
            hidden = gelu(self.normed(stream) @ block["W_in"] + block["b_in"])
            stream = stream + site("mlp_out", layer, hidden @ block["W_out"] + block["b_out"])
            stream = site("resid_post", layer, stream)
        return Run(sites, stream, self._scale(stream))

    def _scale(self, stream: Array) -> Array:
        return np.sqrt((stream**2).mean(-1) + self.epsilon)

    def normed(self, stream: Array) -> Array:
        """The stream over its scale; it is centred already."""
        return stream / self._scale(stream)[..., None]

    # ---- what a model says at END

    def logit_diff(self, prompts: Prompts, edits: Edits | None = None) -> Array:
        """The answer's logit minus the distractor's at END, shape ``(prompt,)``."""
        return self._logit_diff(prompts, self.run(prompts.tokens, edits))

    def _logit_diff(self, prompts: Prompts, run: Run) -> Array:
        """The logit difference of a run, by prompt."""
        written = (run.stream[:, -1] * self._direction(prompts)).sum(-1) / run.scale[:, -1]
        return written + self.unembed_bias[prompts.answers] - self.unembed_bias[prompts.distractors]

    def probability(self, tokens: Sequence[int], token: int) -> float:
        """The probability of one token after others."""
        return float(np.exp(self._log_probabilities(tokens)[-1, token]))

    def rank(self, tokens: Sequence[int], token: int) -> int:
        """1 where no other token is likelier."""
        end = self._log_probabilities(tokens)[-1]
        return 1 + int((end > end[token]).sum())

    def loss(self, tokens: Sequence[int]) -> float:
        """The mean cross-entropy of each token after the ones before, in nats."""
        logs = self._log_probabilities(tokens)[:-1]
        return float(-logs[np.arange(len(logs)), tokens[1:]].mean())

    def _log_probabilities(self, tokens: Sequence[int]) -> Array:
        run = self.run(np.array([tokens]))
        logits = (run.stream[0] / run.scale[0, :, None]) @ self.unembed + self.unembed_bias
        shifted = logits - logits.max(-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))

    # ---- who writes the answer

    def _direction(self, prompts: Prompts) -> Array:
        """The answer's unembedding minus the distractor's, shape ``(prompt, d_model)``."""
        return (self.unembed[:, prompts.answers] - self.unembed[:, prompts.distractors]).T

    def _read(self, prompts: Prompts, written: Array, scale: Array) -> float:
        """The mean over prompts of what is written at END along the answer's direction."""
        return float(((written * self._direction(prompts)).sum(-1) / scale[:, -1]).mean())

    def head_attributions(self, prompts: Prompts, edits: Edits | None = None) -> Array:
        """What each head writes, with the scale of the same run, shape ``(layer, head)``."""
        run = self.run(prompts.tokens, edits)
        return np.array(
            [
                [
                    self._read(prompts, run.sites["z", layer][:, -1, head] @ block["W_o"][head], run.scale)
                    for head in range(self.n_heads)
                ]
                for layer, block in enumerate(self.blocks)
            ]
        )

    def component_attribution(self, prompts: Prompts, site: str, layer: int) -> float:
        """What ``attn_out`` or ``mlp_out`` of a layer writes."""
        run = self.run(prompts.tokens)
        return self._read(prompts, run.sites[site, layer][:, -1], run.scale)

    def embedding_attributions(self, prompts: Prompts) -> tuple[float, float]:
        """What the embedding of END's token and of its position write."""
        run, last = self.run(prompts.tokens), prompts.tokens.shape[1] - 1
        embedded = self.embed[prompts.tokens[:, -1]]
        place = np.broadcast_to(self.positions[last], embedded.shape)
        return self._read(prompts, embedded, run.scale), self._read(prompts, place, run.scale)

    def lens(self, prompts: Prompts, site: str, layer: int) -> float:
        """The logit difference read from a residual stream at END, with the finished run's scale, without bias."""
        run = self.run(prompts.tokens)
        return self._read(prompts, run.sites[site, layer][:, -1], run.scale)

    def bias_difference(self, token: int, other: int) -> float:
        """How much the unembedding's bias prefers one token."""
        return float(self.unembed_bias[token] - self.unembed_bias[other])

    def eigenvalue_score(self, layer: int, head: int) -> float:
        """The sum of the eigenvalues of a head's full OV circuit, token to token, over the sum of their sizes."""
        block = self.blocks[layer]
        inner = block["W_o"][head] @ self.unembed @ self.embed @ block["W_v"][:, head]
        values = np.linalg.eigvals(inner)
        return float(values.sum().real / np.abs(values).sum())

    # ---- patching: clean into corrupted

    def patched(
        self, clean: Prompts, corrupted: Prompts, site: str, layer: int, *, at: int | None, head: int | None
    ) -> float:
        """``(patched - corrupted) / (clean - corrupted)``, a ratio of means over prompts; arguments as below."""
        patched, low, high = self.patched_sums(clean, corrupted, site, layer, at=at, head=head)
        return float((patched - low) / (high - low))

    def estimated(
        self, clean: Prompts, corrupted: Prompts, site: str, layer: int, *, at: int | None, head: int | None
    ) -> float:
        """The slope of :meth:`patched` as the activation leaves the corrupted run, by central differences."""
        step = 1e-4
        ahead, behind = (
            self.patched_sums(clean, corrupted, site, layer, at=at, head=head, share=share) for share in (step, -step)
        )
        return float((ahead[0] - behind[0]) / (2 * step * (ahead[2] - ahead[1])))

    def patched_sums(
        self,
        clean: Prompts,
        corrupted: Prompts,
        site: str,
        layer: int,
        *,
        at: int | None,
        head: int | None,
        share: float = 1.0,
    ) -> Array:
        """Logit differences where an activation of the clean run stands in the corrupted one.

        Args:
            clean: the run that activations are taken from; its answers and distractors count.
            corrupted: the run that they are put into.
            site: such as ``z``.
            layer: of the site.
            at: a position (of a pattern: the one that attends); None for all.
            head: None for all heads, or a residual stream.
            share: how far the activation goes from the corrupted run to the clean one.

        Returns:
            Sums over prompts: of the patched run, of the corrupted one, of the clean one.
        """
        runs = Prompts(corrupted.tokens, clean.answers, clean.distractors)
        clean_run, base = self._run_once(clean), self._run_once(runs)
        source = clean_run.sites[site, layer]
        position = slice(None) if at is None else at
        of_head = slice(None) if head is None else head
        place: tuple[slice | int, ...] = (slice(None), position)
        if site == "pattern":
            place = (slice(None), of_head, position)
        elif site in ("q", "k", "v", "z"):
            place = (slice(None), position, of_head)

        def put(value: Array) -> Array:
            value = value.copy()
            value[place] += share * (source[place] - value[place])
            return value

        edited = self.run(runs.tokens, {(site, layer): put}, (layer, base.sites["resid_pre", layer]))
        said = self._logit_diff(runs, edited), self._logit_diff(runs, base), self._logit_diff(clean, clean_run)
        return np.array([values.sum() for values in said])

    def _run_once(self, prompts: Prompts) -> Run:
        """The run of these tokens, made once for a sweep."""
        key = prompts.tokens.tobytes()
        if key not in self._runs:
            self._runs[key] = self.run(prompts.tokens)
        return self._runs[key]

    @staticmethod
    def zeroed(*heads: tuple[int, int], at: int | None = -1) -> Edits:
        """Edits that set z of heads to zero at a position; None for all."""

        def zero(layer: int) -> Edit:
            def put(value: Array) -> Array:
                value = value.copy()
                for its_layer, head in heads:
                    if its_layer == layer:
                        value[:, slice(None) if at is None else at, head] = 0
                return value

            return put

        return {("z", layer): zero(layer) for layer, _ in heads}


def _centred(array: Array, axis: int = -1) -> Array:
    return array - array.mean(axis, keepdims=True)


def gelu(x: Array) -> Array:
    """GPT-2's ``gelu_new``, with a tanh."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
