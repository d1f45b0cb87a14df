"""Sparse autoencoders: the module, its selection rules and losses. Imports torch, safetensors and jaxtyping only."""

from saebench.kernels import SparseCodes
from saebench.saes.geometric_median import geometric_median
from saebench.saes.initialise import initialise
from saebench.saes.losses import Loss
from saebench.saes.rules import RULES, rule_from_data, rule_to_data
from saebench.saes.sae import SAE
from saebench.saes.topk import TopK

__all__ = [
    "RULES",
    "SAE",
    "Loss",
    "SparseCodes",
    "TopK",
    "geometric_median",
    "initialise",
    "rule_from_data",
    "rule_to_data",
]
