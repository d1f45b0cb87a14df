"""Representation misdirection for unlearning (RMU): fine-tuning that scrambles what a model makes of some text.

Li et al. 2024 ("The WMDP benchmark", section 5). With M(x) the residual stream behind block l, u a random unit vector
(entries uniform on [0, 1), then normalised), fixed throughout:

    loss = mean (M'(forget) − c·u)² + α · mean (M'(retain) − M(retain))²

over tokens and coordinates; only the output projections of the MLPs of blocks l − 2 … l change. Defaults are the
paper's for Zephyr-7B; c has to suit the norm that activations have at the layer.

Decisions: special tokens count in neither term, since they carry no text, and an end token fills contexts up.
"""

import copy
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from saebench.config import Section
from saebench.corpus import Contexts
from saebench.errors import UserError
from saebench.lm import LanguageModel, load_lm, plain


class RMUConfig(Section):
    """How the model is fine-tuned."""

    layer: int = Field(7, ge=0, description="l: the block behind which activations are steered")
    blocks: int = Field(3, ge=1, description="blocks whose MLP output projection changes: l and those before it")
    c: float = Field(6.5, gt=0, allow_inf_nan=False, description="length of the vector that forget text is steered to")
    alpha: float = Field(1200.0, ge=0, allow_inf_nan=False, description="weight of the retain term")
    lr: float = Field(5e-5, gt=0, allow_inf_nan=False, description="AdamW's rate")
    steps: int = Field(150, ge=1, description="optimiser steps; text is read again from its beginning where it ends")
    batch: int = Field(4, ge=1, description="contexts of each text in a step")
    seed: int = Field(42, ge=0, description="of the vector and of the order of the contexts")


class Losses(NamedTuple):
    """Of one step, before it is taken."""

    forget: float
    retain: float
    """Without its weight α."""


def rmu(
    lm: LanguageModel,
    forget: Sequence[Contexts],
    retain: Sequence[Contexts],
    config: RMUConfig,
    folder: Path,
    on_step: Callable[[int, Losses], None] = lambda _, __: None,
) -> LanguageModel:
    """Fine-tune a copy of a model; it is left in `folder` in Hugging Face layout, and opened from there.

    Args:
        lm: the model, which stays as it is.
        forget: text to forget, as blocks of contexts of one length.
        retain: text to keep, likewise.
        config: the settings.
        folder: where the changed model goes; it must not exist.
        on_step: told the number of steps done and the losses of the last one.

    Raises:
        UserError: the folder exists, the model has no such layer or cannot be fine-tuned, a text is empty, or the loss
            is not finite.
    """
    if folder.exists():
        raise UserError(f"{folder} exists; name a new folder for the unlearned model")
    hook_point = f"blocks.{config.layer}.hook_resid_post"
    check_layer(lm, config)
    changed = copy.deepcopy(lm.plain)
    place = _place(lm, changed, hook_point)
    weights = projections(lm, changed, config)
    for weight in weights.values():
        weight.requires_grad_(True)
    target = config.c * steering_vector(lm.d_model, config.seed).to(lm.device)
    batches = (_batches(_rows(blocks, which), config) for blocks, which in ((forget, "forget"), (retain, "retained")))
    optimiser = torch.optim.AdamW(weights.values(), lr=config.lr)
    pairs: Iterator[tuple[_Rows, _Rows]] = zip(*batches, strict=True)
    for step, (bad, good) in enumerate(itertools.islice(pairs, config.steps), 1):
        frozen = lm.activations(good.tokens, [hook_point])[hook_point].float()
        steered = (_at(changed, place, bad) - target)[bad.ordinary].square().mean()
        kept = (_at(changed, place, good) - frozen)[good.ordinary].square().mean()
        loss = steered + config.alpha * kept
        if not bool(loss.isfinite()):
            raise UserError(f"the loss is not finite at step {step}; lower lr, c or alpha")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        on_step(step, Losses(float(steered.detach()), float(kept.detach())))
    return _opened(lm, changed, folder)


def check_layer(lm: LanguageModel, config: RMUConfig) -> None:
    """Raise UserError unless the model has the layer."""
    if config.layer >= lm.n_layers:
        raise UserError(f"model {lm.name!r} has {lm.n_layers} blocks, 0 to {lm.n_layers - 1}; set layer to one of them")


def steering_vector(width: int, seed: int) -> Float[Tensor, " width"]:
    """u: entries uniform on [0, 1), normalised."""
    u = torch.rand(width, generator=torch.Generator().manual_seed(seed))
    return u / u.norm()


def projections(lm: LanguageModel, model: nn.Module, config: RMUConfig) -> dict[str, nn.Parameter]:
    """The weights that change, by their name in the model: the MLPs' output projections of the layer and before.

    Raises:
        UserError: the model has no such projection.
    """
    modules = []
    for layer in range(max(0, config.layer - config.blocks + 1), config.layer + 1):
        modules.append(_place(lm, model, f"blocks.{layer}.mlp.out.hook_out")[0])
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    weights = [module.weight for module in modules]
    return {names[id(weight)]: weight for weight in weights if isinstance(weight, nn.Parameter)}


class _Rows(NamedTuple):
    tokens: Tensor
    ordinary: Tensor
    """Which of them are not special."""


def _rows(blocks: Sequence[Contexts], which: str) -> _Rows:
    if not any((~block.special).any() for block in blocks):
        raise UserError(f"the {which} text has no tokens")
    if len({block.tokens.shape[1] for block in blocks}) > 1:
        raise UserError(f"the contexts of the {which} text are of several lengths; give it in one")
    joined = Contexts.stack(list(blocks))
    return _Rows(torch.from_numpy(joined.tokens).long(), torch.from_numpy(~joined.special))


def _batches(rows: _Rows, config: RMUConfig) -> Iterator[_Rows]:
    """Batches of contexts in a random order, over and over, each time in another."""
    generator = torch.Generator().manual_seed(config.seed)
    queue = torch.zeros(0, dtype=torch.long)
    while True:
        while len(queue) < config.batch:
            queue = torch.cat([queue, torch.randperm(len(rows.tokens), generator=generator)])
        now, queue = queue[: config.batch], queue[config.batch :]
        yield _Rows(rows.tokens[now], rows.ordinary[now])


Place = tuple[nn.Module, str]


def _place(lm: LanguageModel, model: nn.Module, hook_point: str) -> Place:
    place = plain.module_of(lm.bridge, model, hook_point) if hook_point in lm.bridge.hook_dict else None
    if place is None:
        raise UserError(f"model {lm.name!r} cannot be fine-tuned by RMU: its own modules have no {hook_point}")
    return place


def _at(model: nn.Module, place: Place, rows: _Rows) -> Float[Tensor, "batch context width"]:
    """What a place of a model holds, differentiable in the model's weights."""
    device = next(model.parameters()).device
    return plain.read(model, {"x": place}, rows.tokens.to(device))["x"].float()


def _opened(lm: LanguageModel, model: Any, folder: Path) -> LanguageModel:
    """Write a model and its tokenizer, whole or not at all, and open them."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    try:
        model.save_pretrained(temporary)
        lm.tokenizer.save_pretrained(temporary)
        temporary.rename(folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    precision = f"{lm.precision}".removeprefix("torch.")
    return load_lm(str(folder.absolute()), device=str(lm.device), precision=precision)
