"""The sites of a model in the order in which it computes them, and the dictionaries that take them apart."""

from collections.abc import Mapping

import torch

from saebench.circuits.decomposition import Coordinates, Dictionary, Features, Tokens
from saebench.errors import UserError
from saebench.lm import LanguageModel
from saebench.saes import SAE

EMBEDDING = "hook_embed"
_ORDER = ("hook_resid_pre", "attn.hook_z", "hook_attn_out", "hook_resid_mid", "hook_mlp_out", "hook_resid_post")


def layer_of(hook_point: str) -> int:
    """The block of a hook point; −1 for the embedding."""
    return -1 if hook_point == EMBEDDING else int(hook_point.split(".")[1])


def in_order(hook_points: Mapping[str, SAE] | list[str]) -> list[str]:
    """Hook points in the order in which a model computes them.

    Raises:
        UserError: one that is none of a block's inputs, outputs and sums.
    """

    def place(hook_point: str) -> tuple[int, int]:
        if hook_point == EMBEDDING:
            return -1, 0
        block, _, kind = hook_point.partition(".")[2].partition(".")
        if not block.isdigit() or kind not in _ORDER:
            raise UserError(f"circuits cannot use the site {hook_point!r}; the usual ones are {', '.join(_ORDER)}")
        return int(block), _ORDER.index(kind)

    return sorted(hook_points, key=place)


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
