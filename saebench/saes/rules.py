"""The registry of selection rules: a new variant is one file and one line here."""

from dataclasses import asdict
from typing import Any, Protocol

from jaxtyping import Bool, Float
from torch import Tensor

from saebench.kernels import PerToken
from saebench.saes.topk import TopK

RULES: dict[str, type[TopK]] = {rule.name: rule for rule in (TopK,)}


class Rule(Protocol):
    """A frozen dataclass of plain settings that selects entries and adds its loss terms."""

    name: str

    @property
    def selection(self) -> PerToken:
        """What the kernels select."""
        ...

    def check(self, d_in: int, n_latents: int) -> None:
        """Raise ValueError unless the rule fits an SAE of this size."""
        ...

    def losses(
        self, sae: Any, x: Float[Tensor, "n d"], reconstruction: Float[Tensor, "n d"], dead: Bool[Tensor, " m"] | None
    ) -> dict[str, Float[Tensor, ""]]:
        """The weighted loss terms beside the reconstruction error."""
        ...


def rule_to_data(rule: TopK) -> dict[str, Any]:
    """A rule as plain data: its name and settings."""
    return {"name": rule.name} | asdict(rule)


def rule_from_data(data: Any) -> TopK:
    """The rule that `rule_to_data` wrote. Raises ValueError for an unknown name or setting."""
    if not isinstance(data, dict) or data.get("name") not in RULES:
        name = data.get("name") if isinstance(data, dict) else data
        raise ValueError(f"unknown rule {name!r}; there are {', '.join(RULES)}")
    settings = {key: value for key, value in data.items() if key != "name"}
    try:
        return RULES[data["name"]](**settings)
    except TypeError as error:
        raise ValueError(f"rule {data['name']!r}: {error}") from None
