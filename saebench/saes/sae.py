"""The sparse autoencoder: one module for every rule, the same for training and after.

Decisions: both weight matrices are [n_latents, d_in], a latent is a row of each: sparse decoding and sparse gradients
read and write whole rows. b_dec is subtracted before the encoder (Gao et al. 2024's b_pre). A rule is plain data; the
tensors it needs are parameters and buffers of this module. `train()` and `eval()` mean what they mean in torch: a rule
that selects over a batch does so in training and by its stored threshold after; a loaded SAE is in `eval`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from saebench import kernels
from saebench.kernels import Kernel, Selection, SparseCodes
from saebench.saes import files, layer_norm
from saebench.saes.losses import Loss
from saebench.saes.ranks import ALONE, Ranks
from saebench.saes.rule import Rule, Training
from saebench.saes.rules import rule_from_data, rule_to_data

Normalise = Literal["none", "layer_norm"]
WEIGHTS = ("W_enc", "b_enc", "W_dec", "b_dec")


class SAE(nn.Module):
    """x̂ = W_decᵀ f + b_dec with sparse f = rule(W_enc (x − b_dec) + b_enc).

    `own` are the rule's tensors by name; those left out are fresh. With normalise="layer_norm" all this happens to each
    token's layer-normed activation, as in OpenAI's SAEs. Raises ValueError for tensors that do not fit each other or
    the rule.
    """

    kernel: Kernel | None
    """Implementation to use; None: the best for the weights' device."""
    ranks: Ranks
    """The processes that train this SAE together; by itself in one."""

    def __init__(
        self,
        W_enc: Float[Tensor, "n_latents d_in"],
        b_enc: Float[Tensor, " n_latents"],
        W_dec: Float[Tensor, "n_latents d_in"],
        b_dec: Float[Tensor, " d_in"],
        rule: Rule,
        normalise: Normalise = "none",
        **own: Tensor,
    ) -> None:
        super().__init__()
        if W_enc.ndim != 2 or not W_enc.numel():
            raise ValueError(f"SAE: W_enc has shape {tuple(W_enc.shape)}, it must be [n_latents, d_in], neither 0")
        n_latents, d_in = W_enc.shape
        for name, tensor, shape in (
            ("b_enc", b_enc, (n_latents,)),
            ("W_dec", W_dec, (n_latents, d_in)),
            ("b_dec", b_dec, (d_in,)),
        ):
            if tuple(tensor.shape) != shape:
                raise ValueError(f"SAE: {name} has shape {tuple(tensor.shape)}, beside W_enc it must be {shape}")
        if normalise not in ("none", "layer_norm"):
            raise ValueError(f"SAE: normalise must be none or layer_norm, got {normalise!r}")
        rule.check(d_in, n_latents)
        self.rule = rule
        self.normalise = normalise
        self.kernel = None
        self.ranks = ALONE
        self.W_enc, self.b_enc = nn.Parameter(W_enc), nn.Parameter(b_enc)
        self.W_dec, self.b_dec = nn.Parameter(W_dec, requires_grad=not rule.derived_decoder), nn.Parameter(b_dec)
        self._own = self._register(rule, own)

    def _register(self, rule: Rule, given: dict[str, Tensor]) -> tuple[str, ...]:
        """Make parameters and buffers of the rule's tensors; returns their names."""
        device = self.W_enc.device
        trained = rule.parameters(self.d_in, self.n_latents)
        fresh = trained | rule.buffers(self.d_in, self.n_latents)
        if unknown := set(given) - set(fresh):
            raise ValueError(f"SAE: a {rule.name} rule has no tensor {', '.join(sorted(unknown))}")
        for name, default in fresh.items():
            tensor = given.get(name, default)
            if tensor.shape != default.shape:
                raise ValueError(f"SAE: {name} has shape {tuple(tensor.shape)}, it must be {tuple(default.shape)}")
            if tensor.is_floating_point():
                tensor = tensor.to(torch.promote_types(tensor.dtype, torch.float32))
            tensor = tensor.to(device)
            if name in trained:
                self.register_parameter(name, nn.Parameter(tensor))
            else:
                self.register_buffer(name, tensor)
        return tuple(fresh)

    @classmethod
    def create(cls, d_in: int, n_latents: int, rule: Rule, seed: int = 0, normalise: Normalise = "none") -> Self:
        """A fresh SAE: random unit-norm decoder rows, encoder equal to the decoder, biases zero.

        `initialise` then fits it to data. Raises ValueError for sizes below 1 or a rule that does not fit.
        """
        if d_in < 1 or n_latents < 1:
            raise ValueError(f"SAE: d_in and n_latents must be at least 1, got {d_in} and {n_latents}")
        generator = torch.Generator().manual_seed(seed)
        W_dec = torch.randn(n_latents, d_in, generator=generator)
        W_dec /= W_dec.norm(dim=1, keepdim=True)
        sae = cls(W_dec.clone(), torch.zeros(n_latents), W_dec, torch.zeros(d_in), rule, normalise)
        with torch.no_grad():
            rule.constrain(sae)
        return sae

    @property
    def d_in(self) -> int:
        """Width of the activations."""
        return self.W_enc.shape[1]

    @property
    def n_latents(self) -> int:
        """Number of latents."""
        return self.W_enc.shape[0]

    def tensor(self, name: str) -> Tensor:
        """One of the rule's own tensors."""
        tensor = getattr(self, name)
        assert isinstance(tensor, Tensor)
        return tensor

    def rule_tensors(self) -> dict[str, Tensor]:
        """The rule's own tensors by name."""
        return {name: self.tensor(name) for name in self._own}

    def encode(self, x: Float[Tensor, "... d_in"]) -> SparseCodes:
        """Sparse codes of x, leading dimensions flattened to tokens; only entries above zero.

        Raises ValueError for x of another width, for NaN or Inf, and in `eval` for a threshold never estimated.
        """
        return self.rule.encode(self, self._tokens(x))

    def decode(
        self,
        codes: SparseCodes,
        W_dec: Float[Tensor, "n_latents d_in"] | None = None,
        b_dec: Float[Tensor, " d_in"] | None = None,
    ) -> Float[Tensor, "tokens d_in"]:
        """The reconstruction of codes, in the weights' dtype (of layer-normed tokens, where the SAE reads those).

        Rules that decode by something else than the weights pass it.
        """
        W_dec = self.W_dec if W_dec is None else W_dec
        bias = self.ranks.counted_once(self.b_dec if b_dec is None else b_dec)
        return self.ranks.added(kernels.decode(codes, W_dec, bias, kernel=self.kernel))

    def reconstruct(self, x: Float[Tensor, "... d_in"]) -> tuple[SparseCodes, Float[Tensor, "... d_in"]]:
        """The codes of x, and its reconstruction in its shape and dtype."""
        codes = self.encode(x)
        decoded = self.decode(codes)
        if self.normalise == "layer_norm":
            decoded = layer_norm.restore(decoded, x.reshape(-1, x.shape[-1]))
        return codes, decoded.view(x.shape).to(x.dtype)

    def forward(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_in"]:
        """The reconstruction of x, in its shape and dtype."""
        return self.reconstruct(x)[1]

    def loss(
        self,
        x: Float[Tensor, "... d_in"],
        dead: Bool[Tensor, " n_latents"] | None = None,
        sparsity: float = 1.0,
        variance: Float[Tensor, ""] | None = None,
    ) -> Loss:
        """What training minimises: FVU plus the rule's own terms, each a mean over tokens.

        `dead` marks the latents that AuxK and its like may revive, `sparsity` is a factor on penalties, `variance` that
        of the whole batch (see `losses.variance`) where x is a part of it.
        """
        x = self._tokens(x).to(torch.promote_types(self.W_dec.dtype, torch.float32))
        if variance is None:
            variance = self.ranks.variance(x.detach())
        return self.rule.loss(self, x, Training(variance, dead, sparsity))

    def select(
        self,
        x: Float[Tensor, "tokens d_in"],
        selection: Selection,
        among: Int[Tensor, " some"] | None = None,
        bias: Float[Tensor, " n_latents"] | None = None,
    ) -> SparseCodes:
        """Pre-activations W_enc (x − b_dec) + b_enc under a selection: what rules build on. `bias` replaces b_enc."""
        bias = self.b_enc if bias is None else bias

        def propose(selection: Selection) -> SparseCodes:
            return kernels.encode(x, self.W_enc, bias, selection, centre=self.b_dec, among=among, kernel=self.kernel)

        return self.ranks.select(selection, len(x), propose)

    def _tokens(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "tokens d_in"]:
        if x.ndim == 0 or x.shape[-1] != self.d_in:
            raise ValueError(f"SAE: x has shape {tuple(x.shape)}, its last dimension must be d_in = {self.d_in}")
        x = x.reshape(-1, self.d_in)
        return layer_norm.normalise(x) if self.normalise == "layer_norm" else x

    @torch.no_grad()
    def update(self, loss: Loss) -> None:
        """After a step: estimate from its codes what serving needs (thresholds, densities)."""
        self.rule.update(self, loss.codes)

    @torch.no_grad()
    def constrain(self) -> None:
        """After a step: give every decoder row unit norm (a row of zeros stays) where the rule keeps it."""
        if self.rule.unit_decoder:
            kernels.unit_rows_(self.W_dec, self.kernel)
        self.rule.constrain(self)

    @torch.no_grad()
    def project_gradient(self) -> None:
        """Before a step: remove from W_dec's gradient what would only change the norm of a row kept at 1."""
        if self.rule.unit_decoder and self.W_dec.grad is not None:
            kernels.project_rows_(self.W_dec.grad, self.W_dec, self.kernel)

    @torch.no_grad()
    def rescale(self, factor: float) -> None:
        """Make an SAE of x into the same SAE of factor · x: biases and thresholds follow, all rules select alike."""
        self.b_dec.mul_(factor)
        self.b_enc.mul_(factor)
        self.rule.rescale(self, factor)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or cast as any module, but the rule's own tensors never fall below float32."""
        before = {name: self.tensor(name).detach() for name in self._own}
        super()._apply(fn, recurse)
        for name, tensor in before.items():
            now = self.tensor(name)
            if tensor.is_floating_point() and now.dtype != torch.promote_types(now.dtype, torch.float32):
                now.data = tensor.to(now.device)
        return self

    def config(self) -> dict[str, Any]:
        """Sizes and rule as plain data: what `config.json` holds beside the weights."""
        sizes = {"d_in": self.d_in, "n_latents": self.n_latents}
        return sizes | {"rule": rule_to_data(self.rule), "normalise": self.normalise}

    def save(self, folder: Path | str) -> None:
        """Write `sae.safetensors` and `config.json`, each whole or not at all. Raises OSError."""
        files.write(Path(folder), self.state_dict(), self.config())

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "cpu") -> Self:
        """The SAE saved in a folder, in `eval`. Raises ValueError, with the file's name, for one that is not whole."""
        folder = Path(folder)
        tensors, config = files.read(folder)
        try:
            rule = rule_from_data(config.get("rule"))
            expected = {*WEIGHTS, *rule.parameters(1, 1), *rule.buffers(1, 1)}
            if set(tensors) != expected:
                missing, unknown = sorted(expected - set(tensors)), sorted(set(tensors) - expected)
                raise ValueError(f"{files.WEIGHTS}: missing tensors {missing}, unknown tensors {unknown}")
            sae = cls(**tensors, rule=rule, normalise=config.get("normalise", "none"))
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from None
        if (sae.d_in, sae.n_latents) != (config.get("d_in"), config.get("n_latents")):
            raise ValueError(
                f"{folder}: config.json says d_in {config.get('d_in')}, n_latents {config.get('n_latents')}, but "
                f"sae.safetensors holds {sae.d_in} and {sae.n_latents}; they belong to different SAEs"
            )
        return sae.to(device).eval()
