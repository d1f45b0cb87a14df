"""Effects of features on a probe: activation · gradient of its logit, against nothing (zero ablation).

`attrib` takes the gradient at the text itself, `ig` its mean over ten steps to the activation without any feature and
error, every site by itself (Marks et al. 2024).
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from saebench.circuits.decomposition import Dictionary, values_gradient
from saebench.circuits.shift.probe import Probe
from saebench.circuits.shift.result import Method
from saebench.circuits.shift.texts import Texts
from saebench.circuits.states import IG_STEPS, Sites, backward
from saebench.errors import UserError
from saebench.lm import LanguageModel
from saebench.lm.edit import Change

Effects = dict[str, Float[Tensor, "groups features"]]
"""Site → mean over the examples of each group of every feature's effect, in nats of the probe's logit."""


def probe_effects(
    lm: LanguageModel,
    batches: Sequence[Texts],
    sites: Sites,
    probe: Probe,
    groups: Int[Tensor, " examples"],
    method: Method = "attrib",
    done: Callable[[int], None] = lambda _: None,
) -> Effects:
    """Mean effects of all features of the sites on the probe's logit, over each group of examples by itself.

    Args:
        lm: the model.
        batches: the texts.
        sites: none behind the probe.
        probe: what is acted on.
        groups: number of the group of each example, from 0 on.
        method: see above.
        done: is told how many batches are done.

    Raises:
        UserError: effects that are not finite.
    """
    n_groups = int(groups.max()) + 1
    sums = {s.hook_point: torch.zeros(n_groups * s.n_nodes, dtype=torch.float64) for s in sites}
    for number, texts in enumerate(batches):
        found, gradients = at_text(lm, texts, sites, probe)
        for site in sites:
            name = site.hook_point
            x = found[name]
            codes = site.split(x, texts.tokens.flatten()).codes
            gradient = gradients[name] if method == "attrib" else along(lm, texts, site, x, probe)
            effects = codes.values * values_gradient(codes, site.directions, gradient)
            tokens = codes.tokens.long()
            effects = effects * texts.counted.flatten()[tokens]
            if not bool(effects.isfinite().all()):
                raise UserError(f"effects at {name} are not finite; look at the model's and the SAE's weights")
            group = groups[texts.rows][tokens // texts.tokens.shape[1]]
            sums[name].index_add_(0, group * site.n_nodes + codes.latents.long(), effects.double())
        done(number + 1)
    counts = torch.bincount(groups, minlength=n_groups).clamp_min(1)[:, None]
    return {name: own.view(n_groups, -1) / counts for name, own in sums.items()}


def at_text(
    lm: LanguageModel, texts: Texts, sites: Sites, probe: Probe
) -> tuple[dict[str, Float[Tensor, "tokens width"]], dict[str, Float[Tensor, "tokens width"]]]:
    """What the sites hold, flat over tokens, and the gradient there of the sum of the texts' logits, in one pass."""
    held: dict[str, Tensor] = {}
    added: dict[str, Tensor] = {}

    def watch(name: str) -> Change:
        def change(value: Tensor) -> Tensor:
            held[name] = value.detach().float().flatten(0, 1)
            added[name] = torch.zeros_like(value, dtype=torch.float32, requires_grad=True)
            return value + added[name]

        return change

    with torch.enable_grad():
        value = probe.of(lm, texts, {site.hook_point: watch(site.hook_point) for site in sites}).sum()
        found = backward(value, [added[site.hook_point] for site in sites])
    return held, {site.hook_point: each.flatten(0, 1) for site, each in zip(sites, found, strict=True)}


def along(
    lm: LanguageModel, texts: Texts, site: Dictionary, x: Float[Tensor, "tokens width"], probe: Probe
) -> Float[Tensor, "tokens width"]:
    """Mean gradient at one site over ten steps from what it holds to its base alone: α = 0, .1 … .9."""
    total = torch.zeros_like(x)
    for step in range(IG_STEPS):  # one by one: ten times the batch would need ten times the memory
        at = (x - step / IG_STEPS * (x - site.base)).view(*texts.tokens.shape, -1).requires_grad_()
        changes: Mapping[str, Change] = {site.hook_point: lambda _, at=at: at}  # type: ignore[misc]
        with torch.enable_grad():
            (found,) = backward(probe.of(lm, texts, changes).sum(), [at])
        total += found.flatten(0, 1)
    return total / IG_STEPS
