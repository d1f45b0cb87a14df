"""The sites of a model with the dictionaries that take them apart, in the order in which it computes them."""

from collections.abc import Mapping

import torch

from saebench.circuits.decomposition import Coordinates, Dictionary, Features, Tokens
from saebench.circuits.order import EMBEDDING, in_order
from saebench.errors import UserError
from saebench.lm import LanguageModel
from saebench.saes import SAE


def feature_sites(lm: LanguageModel, saes: Mapping[str, SAE]) -> list[Dictionary]:
    """The input tokens, and the features of every SAE.

    Raises:
        UserError: a site that the model lacks, or an SAE of another width.
    """
    names = in_order(saes)
    lm.check_hook_points(names)
    probe = lm.activations(torch.zeros(1, 1, dtype=torch.long), names)
    for name in names:
        ours, theirs = saes[name].d_in, probe[name].shape[-1]
        if ours != theirs:
            raise UserError(f"the SAE of {name} reads activations of width {ours}; the model's have {theirs} there")
    return [Tokens(EMBEDDING, lm.bridge.W_E), *(Features(name, saes[name]) for name in names)]


def neuron_sites(lm: LanguageModel, hook_points: list[str]) -> list[Dictionary]:
    """Every coordinate of the same sites."""
    return [Coordinates(name, lm.d_model) for name in in_order(hook_points) if not name.endswith("hook_z")]


def head_sites(lm: LanguageModel) -> list[Dictionary]:
    """Every attention head."""
    width = lm.bridge.cfg.d_head
    return [Coordinates(f"blocks.{i}.attn.hook_z", lm.n_heads * width, width) for i in range(lm.n_layers)]
