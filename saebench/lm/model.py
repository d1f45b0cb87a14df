"""A language model as the rest of the house sees it: tokens in, activations of hook points out."""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from saebench.errors import UserError
from saebench.lm import plain
from saebench.lm.edit import Change, Edit, attach, finite_logits, leaf_output, on_tokens, seen_pass, side_by_side

HOOK_KINDS = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_mlp_out", "hook_attn_out", "attn.hook_z")


class Traced(NamedTuple):
    """A pass that can be differentiated: what `LanguageModel.run` gives, and the embedded tokens."""

    logits: Float[Tensor, "batch context vocab"]
    found: dict[str, Float[Tensor, "batch context width"]]
    cache: Any
    embedded: Float[Tensor, "batch context d_model"]


class LanguageModel:
    """A bridged model with its identity.

    Attributes:
        bridge: the `TransformerBridge` itself, for work that this class does not cover.
        plain: the same weights in transformers' own modules.
        name: label used in identifiers.
        source: what `load_lm` opens it by.
        sha256: identity of weights, configuration and tokenizer.
        precision: arithmetic of the forward pass; weights stay in float32.
    """

    def __init__(
        self, bridge: Any, plain_model: nn.Module, name: str, source: str, sha256: str, precision: torch.dtype
    ) -> None:
        self.bridge = bridge
        self.plain = plain_model
        self._places: dict[str, tuple[nn.Module, str] | None] = {}
        self._only_bridged = 0
        self.name = name
        self.source = source
        self.sha256 = sha256
        self.precision = precision
        self.tokenizer: PreTrainedTokenizerBase = bridge.tokenizer
        self.d_model: int = bridge.cfg.d_model
        self.n_layers: int = bridge.cfg.n_layers
        self.n_heads: int = bridge.cfg.n_heads
        self.d_vocab: int = bridge.cfg.d_vocab
        self.context_length: int = bridge.cfg.n_ctx
        self.device = next(bridge.original_model.parameters()).device

    @property
    def provenance(self) -> dict[str, str]:
        """What decides this model's numbers, as plain data."""
        arithmetic = f"{self.precision}".removeprefix("torch.")
        return {"name": self.source, "sha256": self.sha256, "arithmetic": arithmetic, "device": self.device.type}

    def check_hook_points(self, hook_points: Sequence[str]) -> None:
        """Raise `UserError` for a hook point this model lacks, naming the nearest that it has."""
        known = self.bridge.hook_dict
        for name in hook_points:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=3, cutoff=0.3)
                kinds = ", ".join(f"blocks.0…{self.n_layers - 1}.{kind}" for kind in HOOK_KINDS)
                raise UserError(
                    f"model {self.name!r} has no hook point {name!r}; nearest: {', '.join(near)}; usual ones: {kinds}"
                )

    def arithmetic(self) -> AbstractContextManager:
        """Autocast to `precision` where that is not float32."""
        return torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32)

    @torch.no_grad()
    def activations(
        self, tokens: Int[Tensor, "batch context"], hook_points: Sequence[str]
    ) -> dict[str, Float[Tensor, "batch context width"]]:
        """Activations of several hook points in one pass, which ends at the last of them.

        Heads are concatenated: `hook_z` has width heads · d_head.
        """
        tokens = tokens.to(self.device)
        places = self._plain_places(hook_points)
        with self.arithmetic():
            if places is not None and not self._only_bridged:
                found = plain.read(self.plain, places, tokens)
            else:
                found = self._bridged(tokens, hook_points)
        return {name: rearrange(value, "b c ... -> b c (...)") for name, value in found.items()}

    @torch.no_grad()
    def run(
        self, tokens: Int[Tensor, "batch new"], hook_points: Sequence[str] = (), cache: Any = None
    ) -> tuple[Float[Tensor, "batch new vocab"], dict[str, Float[Tensor, "batch new width"]], Any]:
        """Logits in float32, activations of hook points, and the keys and values to go on from, in one pass.

        With a `cache` (which is extended in place) `tokens` are those behind the ones that it holds.
        """
        return self._run(tokens, hook_points, cache)

    def traced(self, tokens: Int[Tensor, "batch context"], hook_points: Sequence[str] = ()) -> Traced:
        """What `run` gives, in a pass that can be differentiated in the embedded tokens, which it gives too."""
        twin: Any = self.plain
        bridged = self._plain_places(hook_points) is None or self._only_bridged
        embedding = self.bridge.embed if bridged else twin.get_input_embeddings()
        with torch.enable_grad(), leaf_output(embedding) as embedded:
            logits, found, cache = self._run(tokens, hook_points, None)
        return Traced(logits, found, cache, embedded())

    @torch.no_grad()
    def embeddings(self) -> Float[Tensor, "vocab d_model"]:
        """What every token of the vocabulary is embedded as."""
        twin: Any = self.plain
        return twin.get_input_embeddings()(torch.arange(self.d_vocab, device=self.device))

    def _run(
        self, tokens: Int[Tensor, "batch new"], hook_points: Sequence[str], cache: Any
    ) -> tuple[Float[Tensor, "batch new vocab"], dict[str, Float[Tensor, "batch new width"]], Any]:
        tokens, places = tokens.to(self.device), self._plain_places(hook_points)
        found: dict[str, Tensor] = {}

        def keep(name: str, value: Any) -> None:
            found[name] = (value[0] if isinstance(value, tuple) else value).flatten(2)

        with self.arithmetic(), ExitStack() as stack:
            if places is not None and not self._only_bridged:
                for name, place in places.items():
                    stack.callback(plain.watch(*place, name, keep).remove)
                out = self.plain(input_ids=tokens, past_key_values=cache, use_cache=True)
                logits, cache = out.logits, out.past_key_values
            else:
                for name in hook_points:
                    stack.callback(plain.watch(self.bridge.hook_dict[name], "hook_out", name, keep).remove)
                logits, cache = self.bridge(
                    tokens, return_type="logits_and_cache", past_key_values=cache, use_cache=True
                )
        return logits.float(), found, cache

    def last_logits(
        self, tokens: Int[Tensor, "batch context"], changes: Mapping[str, Change] | None = None
    ) -> Float[Tensor, "batch vocab"]:
        """Logits (float32) behind the last token, in a pass in which `changes` replace what hook points hold.

        A change gets what its hook point holds, heads side by side, and gives what it shall hold; the pass can be
        differentiated through it. Where nothing is to be changed, it gives what it got.

        Raises:
            UserError: no such hook point, or one that cannot be changed.
        """
        changes = changes or {}
        self._check_changeable(changes)
        tokens, places = tokens.to(self.device), self._plain_places(list(changes))
        with self.arithmetic(), ExitStack() as stack:
            if places is not None and not self._only_bridged:
                for name, place in places.items():
                    stack.callback(attach(*place, side_by_side(changes[name])).remove)
                logits = self.plain(input_ids=tokens, use_cache=False, logits_to_keep=1).logits
            else:
                for name, change in changes.items():
                    stack.callback(attach(self.bridge.hook_dict[name], "hook_out", side_by_side(change)).remove)
                logits = self.bridge(tokens, return_type="logits")
        return logits[:, -1].float()

    @contextmanager
    def edited(self, edits: Mapping[str, Edit]) -> Iterator[None]:
        """While inside, every pass of this model, its `bridge` and its `plain` twin changes what hook points hold.

        The model is as before afterwards, whatever happens inside.

        Raises:
            UserError: no such hook point, or one that cannot be changed; inside, edits whose outcome overflows (see
                `edit.LARGEST`), logits that are not finite.
        """
        self._check_changeable(edits)
        places = {name: self._plain_places([name]) for name in edits}
        with ExitStack() as stack:
            stack.callback(setattr, self, "_only_bridged", self._only_bridged)
            twin: Any = self.plain
            in_bridge = stack.enter_context(seen_pass(self.bridge.original_model, self.bridge.embed))
            in_twin = stack.enter_context(seen_pass(twin, twin.get_input_embeddings()))
            for unembedding in (self.bridge.unembed, twin.get_output_embeddings()):
                stack.enter_context(finite_logits(unembedding))
            for name, edit in edits.items():
                hook = self.bridge.hook_dict[name]
                stack.callback(attach(hook, "hook_out", on_tokens(edit, in_bridge, name)).remove)
                found = places[name]
                if found is None:
                    self._only_bridged += 1
                else:
                    stack.callback(attach(*found[name], on_tokens(edit, in_twin, name)).remove)
            yield

    def _check_changeable(self, hook_points: Iterable[str]) -> None:
        self.check_hook_points(list(hook_points))
        for name in hook_points:
            if name.endswith("hook_resid_mid"):  # TransformerLens 4 has it on the way into the norm only
                raise UserError(f"{name} can be read but not changed: the residual stream passes it by; use resid_post")

    def _plain_places(self, hook_points: Sequence[str]) -> dict[str, tuple[nn.Module, str]] | None:
        """Where the plain model has hook points; None where it lacks one."""
        for name in hook_points:
            if name not in self._places:
                self._places[name] = self._place(name)
        found = {name: place for name in hook_points if (place := self._places[name]) is not None}
        return found if len(found) == len(set(hook_points)) else None

    def _bridged(self, tokens: Int[Tensor, "batch context"], hook_points: Sequence[str]) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}

        def capture(value: Tensor, *, hook: Any, name: str) -> None:  # noqa: ARG001 (TransformerLens passes it)
            found[name] = value
            if len(found) == len(set(hook_points)):
                raise plain.LastHookError

        hooks = [(name, partial(capture, name=name)) for name in hook_points]
        with self.bridge.hooks(fwd_hooks=hooks), suppress(plain.LastHookError):
            self.bridge(tokens, return_type=None)
        return found

    def _place(self, hook_point: str) -> tuple[nn.Module, str] | None:
        """Where the plain model has a hook point, if what is found there equals what the bridge says."""
        place = plain.module_of(self.bridge, self.plain, hook_point)
        if place is None:
            return None
        probe = torch.arange(min(8, self.context_length), device=self.device)[None] % self.d_vocab
        [(_, ours)] = plain.read(self.plain, {hook_point: place}, probe).items()
        [(_, theirs)] = self._bridged(probe, [hook_point]).items()
        return place if plain.agree(ours.flatten(2), theirs.flatten(2)) else None

    def heads(self, hook_point: str) -> int:
        """How many attention heads' outputs a hook point concatenates; 0 unless it is a `hook_z`."""
        return self.n_heads if hook_point.endswith("hook_z") else 0

    @torch.no_grad()
    def attention(
        self, tokens: Int[Tensor, "batch context"], hook_point: str
    ) -> tuple[Float[Tensor, "batch heads context context"], Float[Tensor, "batch context heads d_head"]]:
        """Attention patterns [destination, source] and value vectors of every head of the layer of a `hook_z`, in
        float32; heads that share keys and values (grouped-query attention) each have a copy.
        """
        layer = hook_point.removesuffix("hook_z")
        names = (f"{layer}hook_pattern", f"{layer}hook_v")
        with self.arithmetic():
            found = self._bridged(tokens.to(self.device), names)
        pattern, values = (found[name].float() for name in names)
        values = values.view(*values.shape[:2], -1, self.bridge.cfg.d_head)
        return pattern, values.repeat_interleave(pattern.shape[1] // values.shape[2], dim=2)

    def attends_linearly(self, hook_point: str) -> bool:
        """Whether a `hook_z` is, up to rounding, what `attention` gives: patterns times values."""
        probe = torch.arange(min(8, self.context_length), device=self.device)[None] % self.d_vocab
        try:
            pattern, values = self.attention(probe, hook_point)
            expected = torch.einsum("bhts,bshd->bthd", pattern, values).flatten(2)
        except (KeyError, RuntimeError, ValueError):
            return False
        found = self.activations(probe, [hook_point])[hook_point].float()
        tolerance = 1e-3 if self.precision == torch.float32 else 2e-2
        return found.shape == expected.shape and bool((found - expected).abs().max() <= tolerance * found.abs().max())

    @torch.no_grad()
    def loss(
        self,
        tokens: Int[Tensor, "batch context"],
        hooks: Sequence[tuple[str, Callable[..., Tensor]]] = (),
    ) -> Float[Tensor, "batch context-1"]:
        """Cross-entropy (nats) of every next token, with `hooks` (TransformerLens style) applied."""
        tokens = tokens.to(self.device)
        with self.arithmetic(), self.bridge.hooks(fwd_hooks=list(hooks)):
            logits = self.bridge(tokens, return_type="logits")
        flat = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten().long(), reduction="none"
        )
        return flat.view(len(tokens), -1)

    @torch.no_grad()
    def logit_lens(self, directions: Float[Tensor, "n width"], hook_point: str) -> Float[Tensor, "n vocab"]:
        """Direct effect of directions at a hook point on the logits: through the final norm's centring and gain,
        then the unembedding. The norm's scale depends on the token and is left out; a model may have no norm there.

        Directions of `hook_z` pass through the layer's output projection first.
        """
        vectors = directions.to(self.device, torch.float32)
        if hook_point.endswith("hook_z"):
            layer = int(hook_point.split(".")[1])
            vectors = vectors @ self.bridge.W_O[layer].flatten(0, 1).float()
        if self.bridge.cfg.normalization_type is not None:
            if not self.bridge.cfg.uses_rms_norm:
                vectors = vectors - vectors.mean(-1, keepdim=True)
            vectors = vectors * self.bridge.ln_final.weight.float()
        return vectors @ self.bridge.W_U.float()
