"""Selection A: features that right answers come from, of those that can be taken away without changing other answers.

Farrell, Lau and Conmy 2024 ("Applying sparse autoencoders to unlearn knowledge in language models"), section 3. For
every forget question that the model answers right,

    attribution_i = Σ over tokens of f_i · (W_dec[i] · ∂(logit of the right answer − mean logit of the wrong)/∂x)

and the features of the largest are looked at. Each is then intervened on alone: it stays a candidate if some forget
question becomes wrong and no control question does. Candidates are ranked by the loss they add on retained text, the
smallest first.

Decisions: special tokens count nothing, since interventions leave them alone. Where a question names no wrong answers,
the mean is over all other tokens.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

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
from saebench.interventions.choosing.prompts import Prompt, Right, answered_right, grouped
from saebench.interventions.kinds import Intervention
from saebench.lm import LanguageModel
from saebench.lm.tokenizer import special_ids

Make = Callable[[str, int], Intervention]
"""(name of the SAE, feature) → what is done to it: `lambda sae, feature: Zero(sae=sae, feature=feature)`."""


def by_attribution(
    lm: LanguageModel,
    saes: Mapping[str, Hooked],
    sae: str,
    forget: Sequence[Prompt],
    control: Sequence[Prompt],
    retained: Iterable[Contexts],
    make: Make,
    *,
    top: int = 20,
    right: Right = answered_right,
    on_progress: Callable[[int, int], None] = lambda _, __: None,
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
        right: says which questions the model answers right.
        on_progress: told (features tried, features to try).

    Raises:
        UserError: no such SAE, or no forget or control question that the model answers right.
    """
    if sae not in saes:
        raise UserError(f"no SAE {sae!r} to choose features of; there are: {', '.join(saes) or 'none'}")
    numbers, known = _known(lm, forget, right, "forget")
    _, spared = _known(lm, control, right, "control")
    sums = attributions(lm, saes[sae], known)
    tried, strength = top_features(sums, top)
    text = list(retained)
    before = mean_loss(lm, text)
    found = []
    for count, feature in enumerate(tried):
        with intervened(lm, [make(sae, feature)], saes):
            changed = [number for number, ok in zip(numbers, right(lm, known).tolist(), strict=True) if not ok]
            if changed and bool(right(lm, spared).all()):
                found.append((feature, tuple(changed), mean_loss(lm, text) - before))
        on_progress(count + 1, len(tried))
    return [
        Candidate(
            sae=sae, feature=feature, method="attribution", loss_added=added, changes=changes,
            scores={"loss added": added, "attribution": strength[feature], "questions changed": len(changes)},
        )
        for feature, changes, added in sorted(found, key=lambda each: (each[2], -len(each[1]), each[0]))
    ]  # fmt: skip


def attributions(lm: LanguageModel, hooked: Hooked, prompts: Sequence[Prompt]) -> Float[Tensor, "prompts n_latents"]:
    """Attribution of every feature to every question's margin, summed over tokens; sparse in content, dense in form.

    Raises:
        UserError: the SAE does not fit the model.
    """
    lm.check_hook_points([hooked.hook_point])
    site = Features(hooked.hook_point, hooked.sae)
    special = torch.tensor(special_ids(lm.tokenizer))
    out = torch.zeros(len(prompts), hooked.sae.n_latents)
    for rows in grouped(prompts):
        own = [prompts[row] for row in rows]
        tokens = torch.tensor([prompt.tokens for prompt in own])
        batch = Batch(tokens, None, torch.tensor([prompt.answer for prompt in own]), None, tuple(rows))
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
    return out


def top_features(sums: Float[Tensor, "prompts n_latents"], top: int) -> tuple[list[int], dict[int, float]]:
    """The features that are among the `top` of some question, largest mean attribution first, and that mean."""
    among = sums.topk(min(top, sums.shape[1]), 1)
    features = among.indices[among.values > 0].unique()
    means = sums[:, features].mean(0)
    order = torch.argsort(means, descending=True, stable=True)
    return features[order].tolist(), dict(zip(features.tolist(), means.tolist(), strict=True))


@torch.no_grad()
def mean_loss(lm: LanguageModel, blocks: Iterable[Contexts]) -> float:
    """Cross-entropy in nats per token whose target is not special, in whatever state the model is."""
    total, n = 0.0, 0
    for block in blocks:
        counted = torch.from_numpy(~block.special[:, 1:])
        total += float(lm.loss(torch.from_numpy(block.tokens).long()).cpu()[counted].double().sum())
        n += int(counted.sum())
    if not n:
        raise UserError("there is no retained text to measure the added loss on; give some")
    return total / n


def _known(lm: LanguageModel, prompts: Sequence[Prompt], right: Right, which: str) -> tuple[list[int], list[Prompt]]:
    """Numbers of the questions that the model answers right, and these."""
    numbers = [number for number, ok in enumerate(right(lm, prompts).tolist()) if ok] if prompts else []
    if not numbers:
        raise UserError(f"the model answers none of the {len(prompts)} {which} questions right; give others")
    return numbers, [prompts[number] for number in numbers]


def _margins(
    prompts: Sequence[Prompt],
) -> Callable[[Float[Tensor, "examples vocab"], Batch], Float[Tensor, " examples"]]:
    """Right answer's logit minus the mean of the wrong ones'."""

    def margin(logits: Float[Tensor, "examples vocab"], batch: Batch) -> Float[Tensor, " examples"]:
        answers = logits.gather(1, batch.answer[:, None].to(logits.device))[:, 0]
        return torch.stack(
            [own - _mean_wrong(row, prompt) for own, row, prompt in zip(answers, logits, prompts, strict=True)]
        )

    return margin


def _mean_wrong(logits: Float[Tensor, " vocab"], prompt: Prompt) -> Float[Tensor, ""]:
    if prompt.wrong:
        return logits[list(prompt.wrong)].mean()
    return (logits.sum() - logits[prompt.answer]) / (len(logits) - 1)
