"""The registry of selection rules: a new variant is one file and one line here."""

from dataclasses import asdict, fields
from typing import Any

from saebench.saes.archetypal import Archetypal
from saebench.saes.batchtopk import BatchTopK
from saebench.saes.feature_choice import FeatureChoice
from saebench.saes.gated import Gated
from saebench.saes.jumprelu import JumpReLU
from saebench.saes.jumprelu_tanh import JumpReLUTanh
from saebench.saes.matryoshka import Matryoshka
from saebench.saes.mutual_choice import MutualChoice
from saebench.saes.relu import ReLU
from saebench.saes.rule import Rule
from saebench.saes.topk import TopK

RULES: dict[str, type[Rule]] = {
    rule.name: rule
    for rule in (
        TopK,
        BatchTopK,
        MutualChoice,
        FeatureChoice,
        Matryoshka,
        JumpReLU,
        JumpReLUTanh,
        Gated,
        ReLU,
        Archetypal,
    )
}


def rule_to_data(rule: Rule) -> dict[str, Any]:
    """A rule as plain data: its name and settings."""
    return {"name": rule.name} | asdict(rule)


def rule_from_data(data: Any) -> Rule:
    """The rule that `rule_to_data` wrote. Raises ValueError for an unknown name or setting."""
    if not isinstance(data, dict) or data.get("name") not in RULES:
        name = data.get("name") if isinstance(data, dict) else data
        raise ValueError(f"unknown rule {name!r}; there are {', '.join(RULES)}")
    kind = RULES[data["name"]]
    settings = {key: value for key, value in data.items() if key != "name"}
    if unknown := set(settings) - {item.name for item in fields(kind)}:
        raise ValueError(f"rule {kind.name!r} has no setting {', '.join(sorted(unknown))}")
    try:
        return kind(**settings)
    except TypeError as error:
        raise ValueError(f"rule {kind.name!r}: {error}") from None
