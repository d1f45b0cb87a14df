"""Which features are to be ablated: as a person judged them, by rule, or at random."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from saebench.circuits.order import in_order
from saebench.circuits.shift.ablate import Chosen
from saebench.circuits.shift.effects import Effects
from saebench.circuits.shift.examples import GROUPS
from saebench.errors import UserError
from saebench.saes import SAE
from store import Annotations

Pick = tuple[str, int]
"""(hook point, feature)."""
MARK = "irrelevant"
"""Column of a sheet that a person fills in."""
NO = frozenset({"", "0", "no", "n", "false"})


@dataclass(frozen=True)
class Known:
    """The features that can be chosen.

    Attributes:
        set_id: name of the SAE set.
        saes: SAE → its hook point.
        sizes: hook point → number of features, of the sites up to the probe.
        probe_at: where the probe reads.
    """

    set_id: str
    saes: Mapping[str, str]
    sizes: Mapping[str, int]
    probe_at: str

    @classmethod
    def of(cls, set_id: str, sae_ids: Mapping[str, str], saes: Mapping[str, SAE], probe_at: str) -> Self:
        """The features of a set's SAEs (by hook point) at and before the probe.

        Raises:
            UserError: there are none, or a hook point is none of a block's inputs, outputs and sums.
        """
        names = in_order([*saes, probe_at])
        before = {name: saes[name].n_latents for name in names[: names.index(probe_at) + 1] if name in saes}
        if not before:
            raise UserError(f"no SAE of the set {set_id!r} is at or before {probe_at}; probe a later hook point")
        return cls(set_id, {sae: name for name, sae in sae_ids.items()}, before, probe_at)

    def pick(self, sae: str, feature: int, source: str) -> Pick:
        """A feature by its SAE.

        Raises:
            UserError: no SAE of the set, one behind the probe, or no feature of that number.
        """
        if sae not in self.saes:
            raise UserError(f"{source}: SAE {sae!r} is not in the set {self.set_id!r}; it has: {', '.join(self.saes)}")
        hook_point = self.saes[sae]
        if hook_point not in self.sizes:
            raise UserError(
                f"{source}: {hook_point} comes after the probe at {self.probe_at}; choose features before it"
            )
        if not 0 <= feature < self.sizes[hook_point]:
            raise UserError(f"{source}: {sae} has no feature {feature}; they go from 0 to {self.sizes[hook_point] - 1}")
        return hook_point, feature


def from_list(workspace: Path, name: str, known: Known) -> list[Pick]:
    """The features of a named list of the workspace, as the dashboard and `store.Annotations` keep them.

    Raises:
        UserError: no such list, an empty one, or a feature that cannot be chosen.
    """
    annotations = Annotations(workspace)
    names = [each.name for each in annotations.lists()]
    if name not in names:
        raise UserError(f"workspace {workspace} has no feature list {name!r}; it has: {', '.join(names) or 'none'}")
    picks = [known.pick(row.sae, row.feature, f"list {name!r}") for row in annotations.listed(name)]
    if not picks:
        raise UserError(f"list {name!r} is empty; add features to it on their pages")
    return picks


def from_file(path: Path, known: Known) -> list[Pick]:
    """The features of a CSV file with columns `sae` and `feature`; if it has a column `irrelevant`, those marked there.

    Raises:
        UserError: the file cannot be read, lacks a column, names no feature, or one that cannot be chosen.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise UserError(f"cannot read features {path}: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read features {path}: {error}") from None
    if missing := {"sae", "feature"} - set(rows[0] if rows else ()):
        raise UserError(f"{path}: no column {' or '.join(sorted(missing))}, or no rows; features are CSV: sae,feature")
    picks = []
    for number, row in enumerate(rows, 2):
        if (row.get(MARK, "x") or "").strip().lower() in NO:
            continue
        try:
            feature = int(row["feature"] or "")
        except ValueError:
            raise UserError(f"{path}, row {number}: {row['feature']!r} is not the number of a feature") from None
        picks.append(known.pick(row["sae"], feature, f"{path}, row {number}"))
    if not picks:
        raise UserError(f"{path}: no feature is marked; write x in the column {MARK!r} of those to be ablated")
    return picks


def by_contrast(effects: Effects, among: Sequence[Pick]) -> list[Pick]:
    """Those features whose effect differs more with the confound than with the label.

    `effects` are of the four combinations in the order of `GROUPS`. This knows the confound of every example: it stands
    for a person where there is none, and is no part of SHIFT.
    """
    return [
        (name, feature)
        for name, feature in among
        if abs(_contrast(effects[name], 1)[feature]) > abs(_contrast(effects[name], 0)[feature])
    ]


def strongest(effects: Effects, n: int) -> list[Pick]:
    """The n features whose effect differs most with the confound; of effects in the four combinations."""
    return _top({name: _contrast(own, 1) for name, own in effects.items()}, n)


def ranked(effects: Effects, counts: Float[Tensor, " groups"], n: int) -> list[Pick]:
    """The n features of the largest absolute mean effect over all examples, of which `counts` are in each group."""
    shares = (counts / counts.sum()).double()
    return _top({name: shares @ own for name, own in effects.items()}, n)


def at_random(effects: Effects, n: int, seed: int) -> list[Pick]:
    """n of the features that have any effect, drawn by `seed`."""
    active = [(name, int(i)) for name, own in effects.items() for i in own.abs().sum(0).nonzero()[:, 0]]
    drawn = np.random.default_rng(seed).permutation(len(active))[:n]
    return [active[i] for i in sorted(drawn)]


def as_chosen(picks: Iterable[Pick]) -> Chosen:
    """Features by site."""
    found: dict[str, set[int]] = {}
    for name, feature in picks:
        found.setdefault(name, set()).add(feature)
    return {name: torch.tensor(sorted(own)) for name, own in found.items()}


def _contrast(effects: Float[Tensor, "groups features"], part: int) -> Float[Tensor, " features"]:
    """How much effects differ with the label (part 0) or the confound (part 1), the other held."""
    signs = torch.tensor([1.0 if group[part] else -1.0 for group in GROUPS], dtype=effects.dtype)
    return signs @ effects / 2


def _top(scores: Mapping[str, Float[Tensor, " features"]], n: int) -> list[Pick]:
    names = list(scores)
    sizes = torch.tensor([len(scores[name]) for name in names])
    every = torch.cat([scores[name] for name in names]).abs()
    starts = torch.cumsum(sizes, 0) - sizes
    out = []
    for at in every.argsort(descending=True, stable=True)[:n].tolist():
        if every[at] > 0:
            site = int(torch.searchsorted(starts, at, right=True)) - 1
            out.append((names[site], at - int(starts[site])))
    return out
