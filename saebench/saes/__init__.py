"""Sparse autoencoders: the module, its selection rules and losses. Imports torch, safetensors and jaxtyping only."""

from saebench.kernels import SparseCodes
from saebench.saes.archetypal import Archetypal
from saebench.saes.batchtopk import BatchTopK
from saebench.saes.feature_choice import FeatureChoice
from saebench.saes.gated import Gated
from saebench.saes.geometric_median import geometric_median
from saebench.saes.initialise import initialise
from saebench.saes.jumprelu import JumpReLU
from saebench.saes.jumprelu_tanh import JumpReLUTanh
from saebench.saes.losses import Loss
from saebench.saes.matryoshka import Matryoshka
from saebench.saes.mutual_choice import MutualChoice
from saebench.saes.relu import ReLU
from saebench.saes.rule import Rule
from saebench.saes.rules import RULES, rule_from_data, rule_to_data
from saebench.saes.sae import SAE
from saebench.saes.topk import TopK

__all__ = [
    "RULES",
    "SAE",
    "Archetypal",
    "BatchTopK",
    "FeatureChoice",
    "Gated",
    "JumpReLU",
    "JumpReLUTanh",
    "Loss",
    "Matryoshka",
    "MutualChoice",
    "ReLU",
    "Rule",
    "SparseCodes",
    "TopK",
    "geometric_median",
    "initialise",
    "rule_from_data",
    "rule_to_data",
]
