"""What happens to the vectors at one hook point, one step after the other.

Decisions: a list of interventions is cut where it turns from activations to projections or back. Activations are those
of the vectors as the model wrote them, encoded once; each intervention takes what the one before left of them. A
projection takes the vector as the steps before left it. Neighbours of one kind and place on different features are one
formula over a matrix: twenty features cost hardly more than one.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saebench.interventions.gates import Where, where_of
from saebench.interventions.kinds import Intervention
from saebench.saes import SAE

Formula = Callable[..., Tensor]
Masks = Callable[[Where], Bool[Tensor, "rows 1"]]
"""Where an intervention happens → on which tokens of the pass under way that is."""


@dataclass(frozen=True)
class Batch:
    """One formula over some columns (None: all) of a matrix of f, with the numbers of each."""

    formula: Formula
    numbers: tuple[Float[Tensor, " columns"], ...]
    columns: Int[Tensor, " columns"] | None
    where: Where

    def __call__(self, f: Float[Tensor, "rows read"], masks: Masks) -> Float[Tensor, "rows read"]:
        """f' of every row and column."""
        mask = masks(self.where)
        if self.columns is None:
            return torch.where(mask, self.formula(f, *self.numbers), f)
        own = f.index_select(1, self.columns)
        return f.index_copy(1, self.columns, torch.where(mask, self.formula(own, *self.numbers), own))


def batches(interventions: Iterable[tuple[int, Intervention]], n_columns: int, device: torch.device) -> list[Batch]:
    """(column, intervention) pairs in order, with neighbours taken together that share kind and place but no column."""
    groups: list[dict[int, Intervention]] = []
    for column, one in interventions:
        last = next(iter(groups[-1].values())) if groups else None
        alike = last is not None and type(last) is type(one) and where_of(last) == where_of(one)
        if not alike or column in groups[-1]:
            groups.append({})
        groups[-1][column] = one
    return [_batch(group, n_columns, device) for group in groups]


def _batch(group: dict[int, Intervention], n_columns: int, device: torch.device) -> Batch:
    columns, own = zip(*sorted(group.items()), strict=True)
    numbers = (torch.tensor([getattr(one, name) for one in own], device=device) for name in own[0].parameters)
    chosen = None if len(columns) == n_columns else torch.tensor(columns, device=device)
    return Batch(own[0].formula, tuple(numbers), chosen, where_of(own[0]))


class Activations:
    """Interventions on the activations of one SAE: x' = x + (f' − f) W_dec, in each row's own scale."""

    def __init__(self, name: str, sae: SAE, features: Int[Tensor, " read"], own: Sequence[Intervention]) -> None:
        self.name = name
        self.scaled = sae.normalise == "layer_norm"
        column = {int(feature): i for i, feature in enumerate(features)}
        pairs = [(column[feature], one) for one in own for feature in one.features]
        self.batches = batches(pairs, len(features), sae.W_dec.device)
        self.rows = sae.W_dec.detach()[features].float()

    def __call__(
        self,
        x: Float[Tensor, "rows width"],
        f: Float[Tensor, "rows read"],
        scale: Float[Tensor, "rows 1"],
        masks: Masks,
    ) -> tuple[Float[Tensor, "rows width"], Float[Tensor, "rows read"]]:
        """The vectors and the activations afterwards. `scale` is each row's deviation, which layer-normed SAEs want."""
        after = f
        for batch in self.batches:
            after = batch(after, masks)
        if self.scaled:
            return x + ((after - f) @ self.rows) * scale, after
        return torch.addmm(x, after - f, self.rows), after


class Projections:
    """Interventions on how much of some decoder rows a vector holds, all at once.

    With W the rows, q_i = x·w_i / |w_i|² and q' what they shall become, the smallest change in the rows' span that
    brings this about is W⁺ (|w|² (q' − q)): for q' = c q that is (c − 1) P x with P onto the span.
    """

    def __init__(self, own: Sequence[tuple[SAE, Intervention]]) -> None:
        rows: dict[tuple[int, int], tuple[Tensor, bool]] = {}
        pairs = []
        for sae, one in own:
            for feature in one.features:
                key = (id(sae), feature)
                rows.setdefault(key, (sae.W_dec.detach()[feature].double(), sae.normalise == "layer_norm"))
                pairs.append((list(rows).index(key), one))
        W = torch.stack([row for row, _ in rows.values()])
        squares = W.square().sum(1).clamp_min(1e-30)
        self.read = (W / squares[:, None]).T.float()
        self.write = (squares[:, None] * torch.linalg.pinv(W, rtol=1e-6).T).float()
        self.scaled = torch.tensor([scaled for _, scaled in rows.values()], device=W.device)
        self.batches = batches(pairs, len(rows), W.device)

    def __call__(
        self, x: Float[Tensor, "rows width"], scale: Float[Tensor, "rows 1"], masks: Masks
    ) -> Float[Tensor, "rows width"]:
        """The vectors afterwards. `scale` is each row's deviation, in which layer-normed SAEs write."""
        unit = torch.where(self.scaled, scale, 1.0)
        q = x @ self.read / unit
        after = q
        for batch in self.batches:
            after = batch(after, masks)
        return torch.addmm(x, (after - q) * unit, self.write)


def runs(own: Sequence[Intervention]) -> list[list[Intervention]]:
    """The list cut into runs that read alike: activations in any place, projections in one place."""

    def run(one: Intervention) -> Where | None:
        return where_of(one) if one.reads == "projection" else None

    return [list(group) for _, group in groupby(own, run)]
