"""The sparse autoencoder: one module for every rule, the same for training and after.

Decisions: both weight matrices are [n_latents, d_in], a latent is a row of each: sparse decoding and sparse gradients
read and write whole rows. b_dec is subtracted before the encoder (Gao et al. 2024's b_pre). A rule is plain data.
"""

from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from saebench import kernels
from saebench.kernels import Kernel, SparseCodes
from saebench.saes import files
from saebench.saes.losses import Loss, fvu
from saebench.saes.rules import rule_from_data, rule_to_data
from saebench.saes.topk import TopK


class SAE(nn.Module):
    """x̂ = W_decᵀ f + b_dec with sparse f = rule(W_enc (x − b_dec) + b_enc).

    Raises ValueError for tensors that do not fit each other or the rule.
    """

    kernel: Kernel | None
    """Implementation to use; None: the best for the weights' device."""

    def __init__(
        self,
        W_enc: Float[Tensor, "n_latents d_in"],
        b_enc: Float[Tensor, " n_latents"],
        W_dec: Float[Tensor, "n_latents d_in"],
        b_dec: Float[Tensor, " d_in"],
        rule: TopK,
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
        rule.check(d_in, n_latents)
        self.rule = rule
        self.kernel = None
        self.W_enc, self.b_enc = nn.Parameter(W_enc), nn.Parameter(b_enc)
        self.W_dec, self.b_dec = nn.Parameter(W_dec), nn.Parameter(b_dec)

    @classmethod
    def create(cls, d_in: int, n_latents: int, rule: TopK, seed: int = 0) -> Self:
        """A fresh SAE: random unit-norm decoder rows, encoder equal to the decoder, biases zero.

        `initialise` then fits it to data. Raises ValueError for sizes below 1 or a rule that does not fit.
        """
        if d_in < 1 or n_latents < 1:
            raise ValueError(f"SAE: d_in and n_latents must be at least 1, got {d_in} and {n_latents}")
        generator = torch.Generator().manual_seed(seed)
        W_dec = torch.randn(n_latents, d_in, generator=generator)
        W_dec /= W_dec.norm(dim=1, keepdim=True)
        return cls(W_dec.clone(), torch.zeros(n_latents), W_dec, torch.zeros(d_in), rule)

    @property
    def d_in(self) -> int:
        """Width of the activations."""
        return self.W_enc.shape[1]

    @property
    def n_latents(self) -> int:
        """Number of latents."""
        return self.W_enc.shape[0]

    def encode(
        self, x: Float[Tensor, "... d_in"], rule: kernels.Rule | None = None, among: Int[Tensor, " some"] | None = None
    ) -> SparseCodes:
        """Sparse codes of x, leading dimensions flattened to tokens; by another rule or among some latents on request.

        Raises ValueError for x of another width and for NaN or Inf.
        """
        return kernels.encode(
            x, self.W_enc, self.b_enc, rule or self.rule, centre=self.b_dec, among=among, kernel=self.kernel
        )

    def decode(self, codes: SparseCodes) -> Float[Tensor, "tokens d_in"]:
        """The reconstruction of codes, in the weights' dtype."""
        return kernels.decode(codes, self.W_dec, self.b_dec, kernel=self.kernel)

    def forward(self, x: Float[Tensor, "... d_in"]) -> Float[Tensor, "... d_in"]:
        """The reconstruction of x, in its shape and dtype."""
        return self.decode(self.encode(x)).view(x.shape).to(x.dtype)

    def loss(self, x: Float[Tensor, "... d_in"], dead: Bool[Tensor, " n_latents"] | None = None) -> Loss:
        """FVU of the batch plus the rule's own terms; `dead` marks the latents that AuxK and its like may revive."""
        x = x.reshape(-1, x.shape[-1]).to(torch.promote_types(self.W_dec.dtype, torch.float32))
        codes = self.encode(x)
        reconstruction = self.decode(codes).to(x.dtype)
        parts = {"fvu": fvu(reconstruction, x)} | self.rule.losses(self, x, reconstruction, dead)
        return Loss(torch.stack(list(parts.values())).sum(), parts, codes, reconstruction)

    @torch.no_grad()
    def normalise_decoder(self) -> None:
        """Give every decoder row unit norm; a row of zeros stays."""
        norm = torch.linalg.vector_norm(self.W_dec, dim=1, keepdim=True)
        self.W_dec.div_(torch.where(norm > 0, norm, torch.ones_like(norm)))

    @torch.no_grad()
    def project_decoder_gradient(self) -> None:
        """Remove from each row of W_dec's gradient its part along the (unit) row, which would only change its norm."""
        if self.W_dec.grad is not None:
            along = torch.einsum("md,md->m", self.W_dec.grad, self.W_dec)
            self.W_dec.grad.addcmul_(self.W_dec, along[:, None], value=-1)

    def config(self) -> dict[str, Any]:
        """Sizes and rule as plain data: what `config.json` holds beside the weights."""
        return {"d_in": self.d_in, "n_latents": self.n_latents, "rule": rule_to_data(self.rule)}

    def save(self, folder: Path | str) -> None:
        """Write `sae.safetensors` and `config.json`, each whole or not at all. Raises OSError."""
        files.write(Path(folder), self.state_dict(), self.config())

    @classmethod
    def load(cls, folder: Path | str, device: torch.device | str = "cpu") -> Self:
        """The SAE that `save` wrote. Raises ValueError for files that are missing, truncated or do not match."""
        folder = Path(folder)
        tensors, config = files.read(folder)
        names = {"W_enc", "b_enc", "W_dec", "b_dec"}
        if set(tensors) != names:
            missing, extra = sorted(names - set(tensors)), sorted(set(tensors) - names)
            raise ValueError(f"{folder / files.WEIGHTS}: missing tensors {missing}, unknown tensors {extra}")
        try:
            sae = cls(**tensors, rule=rule_from_data(config.get("rule")))
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from None
        if (sae.d_in, sae.n_latents) != (config.get("d_in"), config.get("n_latents")):
            raise ValueError(
                f"{folder}: config.json says d_in {config.get('d_in')}, n_latents {config.get('n_latents')}, but "
                f"sae.safetensors holds {sae.d_in} and {sae.n_latents}; they belong to different SAEs"
            )
        return sae.to(device)
