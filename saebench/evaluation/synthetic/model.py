"""Activations whose true features are known, after SynthSAEBench (Chanin & Garriga-Alonso 2026, arXiv 2602.14687).

x = Σ magnitude × direction over the features that fire + bias + noise: Zipf firing probabilities, correlated by a
copula, obeying trees; magnitudes are rectified Gaussians. The defaults are those of SynthSAEBench-16k.

Decisions: every ingredient is drawn from a generator of its own, seeded by a hash of the seed and the ingredient's
name: changing one leaves the others. So is every block, by its number: blocks come in any order, the same each time,
and those for evaluation never occur in training. Features are numbered from the most to the least frequent.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import embedding_bag, relu

from saebench.errors import UserError
from saebench.evaluation.synthetic.directions import random_directions, spread
from saebench.evaluation.synthetic.firing import random_copula, zipf_probabilities
from saebench.evaluation.synthetic.hierarchy import Forest, compensated, excluding_parents, gate, scale_by_parents
from saebench.kernels import SparseCodes
from saebench.kernels.codes import from_entries


@dataclass(frozen=True)
class SyntheticConfig:
    """What to generate. Raises UserError for settings that make no sense."""

    features: int = 16_384
    """Number of true features."""
    d_model: int = 768
    """Width of the activations."""
    zipf_exponent: float = 0.5
    largest_probability: float = 0.4
    smallest_probability: float = 5e-4
    correlation_rank: int = 25
    """Factors shared by all features; 0 makes firing independent but for the trees."""
    correlation_scale: float = 0.1
    """Standard deviation of a feature's loading on a factor."""
    forest: Forest = field(default_factory=Forest)
    excluding_share: float = 1.0
    """Share of the parents whose children exclude each other."""
    compensate: bool = True
    """Draw children more often, so that gated they fire about as often as Zipf's law says."""
    scale_children: bool = True
    """Multiply a child's magnitude by its parent's over the parent's mean."""
    magnitude_first: float = 5.0
    """Mean magnitude of the most frequent feature; they run linearly to the least frequent one's."""
    magnitude_last: float = 4.0
    deviation_mean: float = 0.5
    """A feature's standard deviation of magnitude is |N(deviation_mean, deviation_spread²)|."""
    deviation_spread: float = 0.5
    bias_norm: float = 0.5
    noise: float = 0.0
    """Standard deviation of noise in each coordinate."""
    spreading_steps: int = 20
    """Steps by which random directions are moved apart, see `spread`."""
    seed: int = 0
    block_rows: int = 2048

    def __post_init__(self) -> None:
        for key, low in (("features", 1), ("d_model", 1), ("block_rows", 1), ("spreading_steps", 0)):
            if getattr(self, key) < low:
                raise UserError(f"synthetic config: {key} must be at least {low}, got {getattr(self, key)}")
        if not 0 < self.smallest_probability <= self.largest_probability < 1:
            raise UserError(
                "synthetic config: needs 0 < smallest_probability ≤ largest_probability < 1, got "
                f"{self.smallest_probability} and {self.largest_probability}"
            )
        if self.forest.size > self.features:
            raise UserError(
                f"synthetic config: the forest needs {self.forest.size} features, there are {self.features}"
            )


class SyntheticModel:
    """The generator; also the trainer's source of activations (`saebench.training.BlockSource`).

    Attributes:
        config: its settings.
        d_model: width of the activations.
        directions: the true dictionary, unit rows [features, d_model].
        bias: what every activation carries [d_model].
        probabilities: how often each feature should fire; trees with too many children fire less, see `compensated`.
    """

    def __init__(self, config: SyntheticConfig) -> None:
        self.config = config
        self.d_model = config.d_model
        n, d = config.features, config.d_model
        self.directions = spread(random_directions(n, d, self._generator("directions")), config.spreading_steps)
        self.bias = config.bias_norm * random_directions(1, d, self._generator("bias"))[0]
        self.probabilities = zipf_probabilities(
            n, config.zipf_exponent, config.largest_probability, config.smallest_probability
        )
        self._excluding = excluding_parents(config.forest, config.excluding_share, self._generator("excluding"))
        drawn = self.probabilities
        if config.compensate:
            drawn = compensated(drawn, config.forest, self._excluding)
        self._copula = random_copula(
            drawn, config.correlation_rank, config.correlation_scale, self._generator("correlation")
        )
        self._means = torch.linspace(config.magnitude_first, config.magnitude_last, n)
        normals = torch.randn(n, generator=self._generator("deviations"))
        self._deviations = (config.deviation_mean + config.deviation_spread * normals).abs()

    def blocks(self, start: int = 0) -> Iterator[Float[Tensor, "rows d_model"]]:
        """Endless training activations, block after block from number `start` on."""
        for number in count(start):
            yield self._block("training", number)[0]

    def held_out(self, rows: int) -> Iterator[tuple[Float[Tensor, "n d_model"], SparseCodes]]:
        """Activations with their true codes, `rows` in all rounded up to whole blocks, none of them in training."""
        for number in range(-(-rows // self.config.block_rows)):
            yield self._block("held-out", number)

    def codes(self, rows: int, generator: torch.Generator) -> SparseCodes:
        """Draw true codes: which features fire, and how strongly."""
        forest = self.config.forest
        fires = gate(self._copula.sample(rows, generator), forest, self._excluding, generator)
        at, features = fires.nonzero(as_tuple=True)
        values = relu(
            self._means[features] + self._deviations[features] * torch.randn(len(features), generator=generator)
        )
        if self.config.scale_children:
            values = scale_by_parents(values, at, features, self._means, forest)
        return from_entries(values, at, features, (rows, self.config.features)).positive()

    def embed(self, codes: SparseCodes, generator: torch.Generator) -> Float[Tensor, "rows d_model"]:
        """The activations of codes: directions, bias and noise."""
        x = self.bias + embedding_bag(
            codes.latents,
            self.directions,
            codes.offsets,
            mode="sum",
            per_sample_weights=codes.values,
            include_last_offset=True,
        )
        return x + self.config.noise * torch.randn(x.shape, generator=generator) if self.config.noise else x

    def _block(self, stream: str, number: int) -> tuple[Float[Tensor, "rows d_model"], SparseCodes]:
        generator = self._generator(f"{stream} {number}")
        codes = self.codes(self.config.block_rows, generator)
        return self.embed(codes, generator), codes

    def _generator(self, name: str) -> torch.Generator:
        digest = hashlib.sha256(f"{self.config.seed} {name}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
