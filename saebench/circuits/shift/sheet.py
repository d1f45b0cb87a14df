"""A sheet for a person to judge by: the strongest features with what they promote and where they fire."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from saebench.circuits.promoted import promoted
from saebench.circuits.shift.ablate import at_probe
from saebench.circuits.shift.choose import MARK, Pick
from saebench.circuits.shift.effects import Effects
from saebench.circuits.shift.texts import Texts
from saebench.circuits.states import Sites
from saebench.corpus.tokenization import vocabulary
from saebench.files import atomic_write
from saebench.lm import LanguageModel
from saebench.lm.edit import Change

N_TEXTS = 4
WINDOW = 10
"""Tokens shown on either side of the one at which a feature is strongest."""


def write_sheet(
    path: Path,
    lm: LanguageModel,
    sites: Sites,
    picks: Sequence[Pick],
    effects: Effects,
    labels: tuple[str, str],
    sae_ids: Mapping[str, str],
    names: Mapping[Pick, str],
    firing: Mapping[Pick, Sequence[str]],
) -> None:
    """Write one CSV row for each feature: an empty column to mark it in, its effects in the two groups of ambiguous
    examples, its label in the workspace, tokens that its direction makes likelier, and texts (`examples_of`).

    Raises:
        UserError: the file cannot be written.
    """
    promoting = promotes(lm, sites, picks)
    out = io.StringIO()
    head = [MARK, "sae", "feature", "hook_point", *(f"effect in {label}" for label in labels), "name", "promotes"]
    writer = csv.writer(out)
    writer.writerow([*head, *(f"text {i + 1}" for i in range(N_TEXTS))])
    for pick in picks:
        name, feature = pick
        shown = [f"{float(value):.4f}" for value in effects[name][:, feature]]
        row = ["", sae_ids[name], feature, name, *shown, names.get(pick, ""), " ".join(promoting[pick])]
        writer.writerow([*row, *firing[pick]])
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(out.getvalue().encode())


def promotes(lm: LanguageModel, sites: Sites, picks: Iterable[Pick]) -> dict[Pick, list[str]]:
    """The tokens that each feature's direction makes likelier by itself, most first (logit lens)."""
    pieces, wanted = vocabulary(lm.tokenizer), list(picks)
    out = {}
    for site in sites:
        own = [feature for name, feature in wanted if name == site.hook_point]
        for feature, tokens in promoted(lm, site, own, pieces).items():
            out[site.hook_point, feature] = [repr(token) for token in tokens]
    return out


@torch.no_grad()
def examples_of(
    lm: LanguageModel,
    batches: Sequence[Texts],
    sites: Sites,
    picks: Sequence[Pick],
    done: Callable[[int], None] = lambda _: None,
) -> dict[Pick, list[str]]:
    """The texts in which each feature is strongest, around that token, which stands between « and »."""
    best: dict[Pick, list[tuple[float, str]]] = {pick: [] for pick in picks}
    wanted = {site.hook_point: [f for name, f in picks if name == site.hook_point] for site in sites}
    last = sites[-1].hook_point
    for number, texts in enumerate(batches):
        held: dict[str, Tensor] = {}
        at_probe(lm, texts, last, {site.hook_point: _keep(held, site.hook_point) for site in sites})
        for site in sites:
            codes = site.split(held[site.hook_point], texts.tokens.flatten()).codes
            for feature in wanted[site.hook_point]:
                own = (codes.latents == feature) & texts.counted.flatten()[codes.tokens.long()]
                values = torch.zeros(texts.tokens.numel())
                values[codes.tokens[own].long()] = codes.values[own]
                most = values.view_as(texts.tokens).max(1)
                for row in most.values.argsort(descending=True)[:N_TEXTS].tolist():
                    if most.values[row] > 0:
                        found = (float(most.values[row]), _around(lm, texts, row, int(most.indices[row])))
                        best[site.hook_point, feature].append(found)
                best[site.hook_point, feature] = sorted(best[site.hook_point, feature], reverse=True)[:N_TEXTS]
        done(number + 1)
    return {pick: [text for _, text in found] for pick, found in best.items()}


def _keep(held: dict[str, Tensor], name: str) -> Change:
    def change(value: Tensor) -> Tensor:
        held[name] = value.float().flatten(0, 1)
        return value

    return change


def _around(lm: LanguageModel, texts: Texts, row: int, at: int) -> str:
    places = texts.counted[row].nonzero()[:, 0]
    start, stop = max(int(places[0]), at - WINDOW), min(int(places[-1]) + 1, at + WINDOW + 1)
    ids = texts.tokens[row].tolist()
    parts = (lm.tokenizer.decode(ids[a:b]) for a, b in ((start, at), (at, at + 1), (at + 1, stop)))
    before, token, after = parts
    return f"{before}«{token}»{after}"
