"""What a dream maximises: a feature of an SAE, at the last token of a prompt.

Decisions: an activation is zero, and so is its gradient, wherever the rule does not select the feature, as at nearly
all random prompts. So the search follows the pre-activation, the affine function of what the SAE reads (layer-normed
where it is) that the activation equals wherever the rule selects it, whichever the rule: for TopK and the rules with a
threshold W_enc (x − b_dec) + b_enc, for Gated its magnitude. What is reported is never that, but the activation that
the SAE itself gives.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from saebench.errors import UserError
from saebench.interventions.apply import Hooked
from saebench.interventions.needed import activations_of
from saebench.saes.layer_norm import normalise


class Target:
    """A feature of an SAE.

    Raises UserError for a feature that the SAE does not have, or that nothing can activate.
    """

    def __init__(self, hooked: Hooked, feature: int) -> None:
        sae = hooked.sae
        if not 0 <= feature < sae.n_latents:
            raise UserError(f"the SAE has no feature {feature}; it has 0 to {sae.n_latents - 1}")
        self.feature = feature
        self.hook_point = hooked.hook_point
        self.width = sae.d_in
        self._layer_norm = sae.normalise == "layer_norm"
        self._slope = sae.rule.slope(sae)[feature].detach().float()
        self._centre, self._bias = sae.b_dec.detach().float(), sae.b_enc[feature].detach().float()
        try:
            self._activations = activations_of(sae, torch.tensor([feature], device=sae.W_enc.device))
        except ValueError as error:
            raise UserError(str(error)) from None
        if not bool(self._slope.any()):
            raise UserError(f"feature {feature} reads nothing: its encoder row is zero, no prompt can activate it")

    def pre_activation(self, x: Float[Tensor, "rows d_in"]) -> Float[Tensor, " rows"]:
        """What the search follows, differentiable in x."""
        read = (normalise(x) if self._layer_norm else x).to(self._slope)
        return ((read - self._centre) @ self._slope + self._bias).to(x.device)

    @torch.no_grad()
    def activation(self, x: Float[Tensor, "rows d_in"]) -> Float[Tensor, " rows"]:
        """What the SAE says.

        Raises:
            UserError: it cannot, as an SAE whose threshold has never been estimated.
        """
        try:
            return self._activations(x.to(self._slope))[:, 0].to(x.device)
        except ValueError as error:
            raise UserError(str(error)) from None
