"""A feature's dream: searched, cut to its frontier, measured again as anybody would run it, beside the corpus.

Decisions: the search scores prompts by what their parents left behind, in batches; what is reported of a prompt comes
from a pass over it alone. Only prompts that really activate the feature are reported.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

import saebench
from saebench.corpus.tokenization import vocabulary
from saebench.errors import UserError
from saebench.interventions.apply import Hooked
from saebench.interventions.dreaming.config import DreamConfig
from saebench.interventions.dreaming.epo import Scores, epo
from saebench.interventions.dreaming.frontier import pareto
from saebench.interventions.dreaming.prompts import Prompts
from saebench.interventions.dreaming.target import Target
from saebench.interventions.dreaming.windows import Window
from saebench.lm import LanguageModel
from saebench.lm.plain import unfused_attention
from saebench.lm.tokenizer import special_ids
from store import Dream, DreamExample, DreamPrompt

Progress = Callable[[int, str], None]
"""(how many iterations are done, what there is to say)."""


def dream(
    lm: LanguageModel,
    hooked: Hooked,
    feature: int,
    config: DreamConfig,
    seed: int = 0,
    track: Progress = lambda _done, _note: None,
    *,
    sae_id: str = "sae",
    sae_sha256: str | None = None,
    corpus: str | None = None,
    windows: Sequence[Window] = (),
) -> Dream:
    """Search the prompts that activate a feature most, from likely text to unlikely.

    Args:
        lm: the model.
        hooked: the SAE, and where it reads.
        feature: of it.
        config: how it is searched.
        seed: of everything drawn.
        track: told how many iterations are done, and the best found so far.
        sae_id, sae_sha256: of the SAE and its weights, for the provenance.
        corpus, windows: what it is compared with: see `best_windows`.

    Raises:
        UserError: no such feature, one that no prompt activates, an SAE or an index that does not fit the model, or
            more tokens than the model reads.
    """
    check_length(config, lm.tokenizer.bos_token_id is not None, lm.context_length)
    if any(token >= lm.d_vocab for window in windows for token in window.tokens):
        raise UserError(f"the index on {corpus} holds tokens that this model does not have; index the SAE again")
    prompts = Prompts(lm, Target(hooked, feature))
    pieces = vocabulary(lm.tokenizer)
    best = [0.0]

    def told(done: int, scores: Scores) -> None:
        best[0] = max(best[0], float(scores.activation.max()))
        track(done, f"activation {best[0]:.3g}")

    with unfused_attention(lm.plain):
        seen = epo(prompts, allowed_tokens(lm, pieces), config, seed, told)
    at = pareto(seen.scores.activation, seen.scores.cross_entropy)
    at = at[seen.scores.activation[at] > 0]
    measured = [measure(lm, prompts, pieces, seen.prompts[i]) for i in at]
    if not any(one.activation > 0 for one in measured):
        raise UserError(
            f"feature {feature} fires on none of the {len(seen.prompts):,} prompts tried: it may be dead; "
            "more dream.iterations or another --seed may wake it"
        )
    columns = (torch.tensor([getattr(one, name) for one in measured]) for name in ("activation", "cross_entropy"))
    frontier = [measured[i] for i in pareto(*columns).tolist() if measured[i].activation > 0]
    examples = [
        DreamExample(
            **asdict(measure(lm, prompts, pieces, torch.tensor(window.tokens))),
            document=window.document, context=window.context, position=window.position, value=window.value,
        )
        for window in windows
    ]  # fmt: skip
    return Dream(
        sae=sae_id,
        feature=feature,
        frontier=frontier,
        corpus=corpus if windows else None,
        examples=sorted(examples, key=lambda one: -one.activation),
        provenance=made_with(lm, hooked, config, seed) | {"sae": sae_id, "sha256": sae_sha256},
    )


def check_length(config: DreamConfig, begin: bool, length: int) -> None:
    """Raise UserError if prompts, behind a begin token where there is one, are longer than what the model reads."""
    if config.tokens + begin > length:
        raise UserError(
            f"prompts of {config.tokens} tokens{' and the begin token' * begin} do not fit the model's context of "
            f"{length}; set dream.tokens lower"
        )


def made_with(lm: LanguageModel, hooked: Hooked, config: DreamConfig, seed: int) -> dict[str, Any]:
    """What decides a dream beside the SAE's weights and the feature."""
    settings = config.model_dump(mode="json")
    made = {"model": lm.provenance, "hook_point": hooked.hook_point, "settings": settings, "seed": seed}
    return made | {"code": saebench.__version__}


def allowed_tokens(lm: LanguageModel, pieces: Sequence[bytes]) -> Int[Tensor, " allowed"]:
    """The tokens that stand for text."""
    special = set(special_ids(lm.tokenizer))
    return torch.tensor([i for i in range(min(len(pieces), lm.d_vocab)) if pieces[i] and i not in special])


def measure(lm: LanguageModel, prompts: Prompts, pieces: Sequence[bytes], prompt: Int[Tensor, " n"]) -> DreamPrompt:
    """A prompt by itself: its text, what it does, and whether its text is these tokens."""
    tokens = prompt.tolist()
    text = str(lm.tokenizer.decode(tokens, clean_up_tokenization_spaces=False))
    activations = prompts.by_token(prompt).tolist()
    return DreamPrompt(
        text=text,
        tokens=tokens,
        pieces=[pieces[token].hex() for token in tokens],
        activations=activations,
        activation=activations[-1],
        cross_entropy=float(prompts.whole(prompt[None]).cross_entropy),
        survives=survives(lm, tokens, text),
    )


def survives(lm: LanguageModel, tokens: Sequence[int], text: str) -> bool:
    """Whether tokenizing the text gives the tokens again. Merges need not leave them as they are."""
    return lm.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids == list(tokens)
