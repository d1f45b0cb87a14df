"""Selection A: features that right answers come from, of those that can be taken away without changing other answers.

Farrell, Lau and Conmy 2024 ("Applying sparse autoencoders to unlearn knowledge in language models"), section 3. For
every forget question that the model answers right,

    attribution_i = Σ over tokens of f_i · (W_dec[i] · ∂(logit of the right answer − mean logit of the wrong)/∂x)

and the features of the largest are looked at. Each is then intervened on alone: it stays a candidate if some forget
question becomes wrong and no control question does. Candidates are ranked by the loss they add on retained text, the
smallest first.

Decisions: questions are asked and their answers judged as everywhere (`questions.asking`), in the given order; the
attribution is to the first token of the right answer, against those of the wrong answers that begin otherwise. Special
tokens count nothing, since interventions leave them alone. Where a question names no wrong answers, the mean is over
all other tokens.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.circuits.batches import Batch, single
from saebench.circuits.decomposition import Features, values_gradient
from saebench.circuits.states import activations, gradients_at_clean
from saebench.corpus import Contexts
from saebench.errors import UserError
from saebench.interventions.apply import Hooked, intervened
from saebench.interventions.choosing.candidates import Candidate
from saebench.interventions.kinds import Intervention
from saebench.interventions.questions.asking import answer, batches
from saebench.interventions.questions.format import QuestionSet
from saebench.interventions.questions.templates import Asked, put
from saebench.interventions.scores.loss import text_scores
from saebench.lm import LanguageModel
from saebench.lm.tokenizer import special_ids
from saebench.tracking import Track, silent

Make = Callable[[str, int], Intervention]
"""(name of the SAE, feature) → what is done to it: `lambda sae, feature: Zero(sae=sae, feature=feature)`."""


def by_attribution(
    lm: LanguageModel,
    saes: Mapping[str, Hooked],
    sae: str,
    forget: QuestionSet,
    control: QuestionSet,
    retained: Iterable[Contexts],
    make: Make,
    *,
    top: int = 20,
    track: Track = silent,
) -> list[Candidate]:
    """Features whose removal changes answers to forget questions and to no control question, least harmful first.

    Args:
        lm: the model.
        saes: by the names that interventions use.
        sae: which of them to choose from.
        forget: questions about what is to be unlearned; only those answered right count.
        control: questions whose answers must not change; only those answered right count.
        retained: text on which the added loss is measured.
        make: what removing a feature is: zero it, or clamp it below zero where it fires (the paper's).
        top: features looked at for every question; the paper's 20.
        track: is told how far it is: of the questions, then of the features that are tried.

    Raises:
        UserError: no such SAE, no forget or control question that the model answers right, or no retained text.
    """
    if sae not in saes:
        raise UserError(f"no SAE {sae!r} to choose features of; there are: {', '.join(saes) or 'none'}")
    numbers, known = _known(lm, forget, "forget")
    _, spared = _known(lm, control, "control")
    text = list(retained)
    if not any((~block.special[:, 1:]).any() for block in text):
        raise UserError("there is no retained text to measure the added loss on; give some")
    with track("attributed", len(known)) as done:
        tried, strength = top_features(attributions(lm, saes[sae], known, done), top)
    found = []
    with track("tried out", len(tried)) as done:
        for count, feature in enumerate(tried, 1):
            under = partial(intervened, lm, [make(sae, feature)], saes)
            with under():
                changed = [number for number, ok in zip(numbers, _right(lm, known), strict=True) if not ok]
                harmless = bool(changed) and all(_right(lm, spared))
            if harmless:
                found.append((feature, tuple(changed), text_scores(lm, under, text).ce_added.value))
            done(count)
    return [
        Candidate(
            sae=sae, feature=feature, method="attribution", loss_added=added, changes=changes,
            scores={"loss added": added, "attribution": strength[feature], "questions changed": len(changes)},
        )
        for feature, changes, added in sorted(found, key=lambda each: (each[2], -len(each[1]), each[0]))
    ]  # fmt: skip


def attributions(
    lm: LanguageModel, hooked: Hooked, ways: Sequence[Asked], progress: Callable[[int], None] = lambda _: None
) -> Float[Tensor, "ways n_latents"]:
    """Attribution of every feature to every question's margin, summed over tokens; sparse in content, dense in form.

    Args:
        lm: the model.
        hooked: the SAE and where it reads.
        ways: the questions as they are put.
        progress: told how many of them are done.

    Raises:
        UserError: the SAE does not fit the model.
    """
    lm.check_hook_points([hooked.hook_point])
    site = Features(hooked.hook_point, hooked.sae)
    special = torch.tensor(special_ids(lm.tokenizer))
    out = torch.zeros(len(ways), hooked.sae.n_latents)
    done = 0
    for rows in batches(lm, [tuple(way.prompt) for way in ways]):
        own = [ways[row] for row in rows]
        tokens = torch.tensor([way.prompt for way in own])
        batch = Batch(tokens, None, torch.tensor([way.says[0][0] for way in own]), None, tuple(rows))
        x = activations(lm, tokens, [site])[site.hook_point]
        if x.shape[1] != hooked.sae.d_in:
            raise UserError(f"the SAE reads vectors of {hooked.sae.d_in}, {site.hook_point} has {x.shape[1]}")
        gradients, _ = gradients_at_clean(lm, batch, [site], single(_margins(own)))
        codes = site.split(x, tokens.flatten()).codes
        entries = codes.values * values_gradient(codes, site.directions, gradients[site.hook_point])
        at = codes.tokens.long()
        entries = entries * ~torch.isin(tokens.flatten(), special)[at]
        question = torch.tensor(rows)[at // tokens.shape[1]]
        out.index_put_((question, codes.latents.long()), entries, accumulate=True)
        done += len(rows)
        progress(done)
    return out


def top_features(sums: Float[Tensor, "prompts n_latents"], top: int) -> tuple[list[int], dict[int, float]]:
    """The features that are among the `top` of some question, largest mean attribution first, and that mean."""
    among = sums.topk(min(top, sums.shape[1]), 1)
    features = among.indices[among.values > 0].unique()
    means = sums[:, features].mean(0)
    order = torch.argsort(means, descending=True, stable=True)
    return features[order].tolist(), dict(zip(features.tolist(), means.tolist(), strict=True))


def _known(lm: LanguageModel, questions: QuestionSet, which: str) -> tuple[list[int], list[Asked]]:
    """Numbers of the questions that the model answers right, and these as they are put."""
    ways = [way for _, way in put(lm, questions, "given")]
    numbers = [number for number, ok in enumerate(_right(lm, ways)) if ok] if ways else []
    if not numbers:
        raise UserError(f"the model answers none of the {len(ways)} {which} questions right; give others")
    return numbers, [ways[number] for number in numbers]


def _right(lm: LanguageModel, ways: Sequence[Asked]) -> list[bool]:
    return answer(lm, list(enumerate(ways))).right.tolist()


def _margins(ways: Sequence[Asked]) -> Callable[[Float[Tensor, "examples vocab"], Batch], Float[Tensor, " examples"]]:
    """Right answer's logit minus the mean of the wrong ones'."""

    def margin(logits: Float[Tensor, "examples vocab"], batch: Batch) -> Float[Tensor, " examples"]:
        answers = logits.gather(1, batch.answer[:, None].to(logits.device))[:, 0]
        return torch.stack([own - _mean_wrong(row, way) for own, row, way in zip(answers, logits, ways, strict=True)])

    return margin


def _mean_wrong(logits: Float[Tensor, " vocab"], way: Asked) -> Float[Tensor, ""]:
    right, *others = (says[0] for says in way.says)
    wrong = sorted({token for token in others if token != right})
    return logits[wrong].mean() if wrong else (logits.sum() - logits[right]) / (len(logits) - 1)
