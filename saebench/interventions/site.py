"""All that happens at one hook point in a pass: read the features that are needed, open gates, change the vectors."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from saebench.errors import UserError
from saebench.interventions.gates import Asked, Gate, meant
from saebench.interventions.kinds import Intervention
from saebench.interventions.needed import Activations as Encoder
from saebench.interventions.needed import activations_of
from saebench.interventions.steps import Activations, Projections, runs
from saebench.lm.edit import Pass
from saebench.saes import SAE
from saebench.saes.layer_norm import deviation


class Site:
    """An `Edit`: the interventions at a hook point, and the gates whose features are read there.

    Args:
        hook_point: its name.
        saes: those that read it, by name.
        interventions: those on these SAEs, in order.
        conditions: those on these SAEs, wherever they are waited for.
        gates: all gates of the context; those of `conditions` are entered.
        ordinary: of every token of the vocabulary, whether it stands for text.

    Raises:
        UserError: an SAE that cannot serve.
    """

    def __init__(
        self,
        hook_point: str,
        saes: Mapping[str, SAE],
        interventions: Sequence[Intervention],
        conditions: Sequence[Asked],
        gates: dict[Asked, Gate],
        ordinary: Bool[Tensor, " vocab"],
    ) -> None:
        self.hook_point, self.saes, self.ordinary, self.gates = hook_point, saes, ordinary, gates
        self.features = {name: _features(sae, name, interventions, conditions) for name, sae in saes.items()}
        self.encoders = {
            name: _encoder(name, sae, self.features[name])
            for name, sae in saes.items()
            if any(c.sae == name for c in conditions)
            or any(one.sae == name and one.reads == "activation" for one in interventions)
        }
        self.own_gates = []
        for asked in conditions:
            read = self.features[asked.sae]
            gates[asked] = gate = Gate(asked, torch.searchsorted(read, read.new_tensor(asked.features)), ordinary)
            self.own_gates.append(gate)
        self.steps: list[Activations | Projections] = []
        for run in runs(interventions):
            if run[0].reads == "projection":
                self.steps.append(Projections([(saes[one.sae], one) for one in run]))
                continue
            for name in dict.fromkeys(one.sae for one in run):
                own = [one for one in run if one.sae == name]
                self.steps.append(Activations(name, saes[name], self.features[name], own))
        self.scaled = any(sae.normalise == "layer_norm" for sae in saes.values())

    def __call__(self, x: Float[Tensor, "batch new width"], now: Pass) -> Float[Tensor, "batch new width"]:
        """What the hook point shall hold. Raises UserError for vectors of another width."""
        self._check(x)
        if torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self._changed(x, now)
        return self._changed(x, now)

    def _changed(self, x: Float[Tensor, "batch new width"], now: Pass) -> Float[Tensor, "batch new width"]:
        rows = x.flatten(0, 1).float()
        read = {name: encode(rows) for name, encode in self.encoders.items()}
        for gate in self.own_gates:
            gate.read(read[gate.asked.sae], now)
        if not self.steps:
            return x

        masks = partial(meant, now=now, ordinary=self.ordinary, gates=self.gates)
        scale = deviation(rows) if self.scaled else rows.new_ones(())
        for step in self.steps:
            if isinstance(step, Projections):
                rows = step(rows, scale, masks)
            else:
                f = read.get(step.name)
                f = rows.new_zeros(len(rows), len(step.rows)) if f is None else f
                rows, read[step.name] = step(rows, f, scale, masks)
        return rows.view(x.shape).to(x.dtype)

    def _check(self, x: Float[Tensor, "batch new width"]) -> None:
        for sae in self.saes.values():
            if x.shape[-1] != sae.d_in:
                raise UserError(
                    f"an SAE of width {sae.d_in} cannot change activations of width {x.shape[-1]} at {self.hook_point}"
                )


def _features(
    sae: SAE, name: str, interventions: Sequence[Intervention], conditions: Sequence[Asked]
) -> Int[Tensor, " read"]:
    """The features of an SAE whose activations matter, rising."""
    changed = {f for one in interventions if one.sae == name and one.reads != "projection" for f in one.features}
    asked = {f for condition in conditions if condition.sae == name for f in condition.features}
    return torch.tensor(sorted(changed | asked), dtype=torch.long, device=sae.W_dec.device)


def _encoder(name: str, sae: SAE, features: Int[Tensor, " read"]) -> Encoder:
    try:
        return activations_of(sae, features)
    except ValueError as error:
        raise UserError(f"SAE {name} cannot serve: {error}") from None
