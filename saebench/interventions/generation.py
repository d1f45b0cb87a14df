"""Continuations of a prompt, token by token, with the keys and values of what was read kept."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from saebench.corpus.tokenization import SourceTokenizer
from saebench.errors import UserError
from saebench.lm import LanguageModel
from saebench.lm.edit import all_finite
from saebench.lm.tokenizer import context_length, load_tokenizer


@dataclass(frozen=True)
class Generated:
    """A continuation.

    Attributes:
        tokens: what was generated, behind the prompt; an end token ends it and is not among them.
        logits: of the first of them, that is of what follows the prompt.
    """

    tokens: Int[Tensor, " generated"]
    logits: Float[Tensor, " vocab"]


@torch.no_grad()
def generate(
    lm: LanguageModel,
    prompt: str | Int[Tensor, " prompt"],
    n_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
) -> Generated:
    """Continue a prompt under whatever interventions the model stands.

    Args:
        lm: the model.
        prompt: a text, or its tokens, the begin token among them where the model wants one.
        n_tokens: how many to generate at most.
        temperature: what logits are divided by before a token is drawn; 0 takes the likeliest.
        seed: of the draws. Two runs of one seed draw alike, so they differ only as far as their distributions do.

    Raises:
        UserError: nothing to continue, too long for the model's context, or logits that are not finite.
    """
    prompt = prompt_tokens(lm, prompt) if isinstance(prompt, str) else prompt
    _check_length(len(prompt), n_tokens, lm.context_length)
    generator = torch.Generator().manual_seed(seed)
    logits, _, cache = lm.run(prompt[None])
    first = finite(logits[0, -1])
    drawn: list[int] = []
    while len(drawn) < n_tokens:
        if drawn:
            logits, _, cache = lm.run(torch.tensor([drawn[-1:]]), cache=cache)
        token = draw(finite(logits[0, -1]), temperature, generator)
        if token == lm.tokenizer.eos_token_id:
            break
        drawn.append(token)
    return Generated(torch.tensor(drawn, dtype=torch.long), first)


def prompt_tokens(lm: LanguageModel, text: str) -> Int[Tensor, " prompt"]:
    """A text as the model reads it: behind its begin token, where it has one."""
    return torch.tensor(_tokens(lm.tokenizer, text), dtype=torch.long)


def check_prompt(model: str, text: str, n_tokens: int) -> None:
    """Raise UserError if a text and its continuation do not fit a model; only its tokenizer is opened.

    Args:
        model: as `load_lm` takes it.
        text: the prompt.
        n_tokens: how many are to follow.
    """
    length = context_length(model)
    if length is not None:
        _check_length(len(_tokens(load_tokenizer(model), text)), n_tokens, length)


def _tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    [(ids, _)] = SourceTokenizer(tokenizer).encode([text])
    begin = tokenizer.bos_token_id
    return [*([] if begin is None else [begin]), *ids.tolist()]


def _check_length(n_prompt: int, n_tokens: int, length: int) -> None:
    if not n_prompt:
        raise UserError("there is no token to continue; give a prompt")
    if n_prompt + n_tokens > length:
        raise UserError(f"{n_prompt} tokens of prompt and {n_tokens} more do not fit the model's context of {length}")


def finite(logits: Float[Tensor, " vocab"]) -> Float[Tensor, " vocab"]:
    """The logits. Raises UserError where they are not finite."""
    if not all_finite(logits):
        raise UserError("the model's logits overflow under these interventions; use smaller strengths")
    return logits


def draw(logits: Float[Tensor, " vocab"], temperature: float, generator: torch.Generator) -> int:
    """One token; the likeliest at temperature 0."""
    if temperature == 0:
        return int(logits.argmax())
    shares = torch.softmax(logits.cpu().double() / temperature, 0)
    return int(torch.multinomial(shares, 1, generator=generator))
