"""Latents as detectors of features: precision, recall and F1 of each, over any number of batches."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.kernels import SparseCodes


class Detection:
    """Counts, for every latent, of where it fired, where its feature did, and where both."""

    def __init__(self, feature: Int[Tensor, " latents"]) -> None:
        """`feature` names the feature each latent is judged by."""
        self.feature = feature
        self.fired, self.present, self.hit = (torch.zeros(len(feature), dtype=torch.int64) for _ in range(3))

    def add(self, codes: SparseCodes, truth: SparseCodes) -> None:
        """Count a batch: the latents' codes and the true ones of the same tokens; values above zero have fired."""
        codes, truth = codes.positive(), truth.positive()
        m, n = codes.n_latents, truth.n_latents
        real = torch.zeros(len(truth), n, dtype=torch.bool)
        real[truth.tokens.long(), truth.latents.long()] = True
        latents = codes.latents.long()
        hits = real[codes.tokens.long(), self.feature[latents]]
        self.fired += torch.bincount(latents, minlength=m)
        self.hit += torch.bincount(latents[hits], minlength=m)
        self.present += torch.bincount(truth.latents, minlength=n)[self.feature]

    @property
    def precision(self) -> Float[Tensor, " latents"]:
        """Share of a latent's firings where its feature fired; 0 for one that never did."""
        return self.hit / self.fired.clamp(min=1)

    @property
    def recall(self) -> Float[Tensor, " latents"]:
        """Share of its feature's firings where a latent fired; 0 for a feature that never did."""
        return self.hit / self.present.clamp(min=1)

    @property
    def f1(self) -> Float[Tensor, " latents"]:
        """Harmonic mean of the two: 2 hit / (fired + present), 0 where there was no hit."""
        return 2 * self.hit / (self.fired + self.present).clamp(min=1)

    @property
    def dead(self) -> float:
        """Share of the latents that never fired."""
        return float((self.fired == 0).double().mean())
