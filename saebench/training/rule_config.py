"""The rules of `saebench.saes` as sections of a recipe, made from their own fields: names, defaults, bounds, meanings.

Decisions: nothing about a rule is said twice; a new rule of the registry is configurable at once. A setting marked
`of_run` may be left open: it becomes the rule's default or that share of the run's tokens, whichever is less.
"""

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_type_hints

from pydantic import Discriminator, Field, Tag, create_model

from saebench.config import TAG, Section
from saebench.saes import RULES, Rule

BOUNDS = ("ge", "gt", "le")


class RuleConfig(Section):
    """Base of the sections made here."""

    name: str

    def resolve(self, d_model: int, tokens: int) -> "RuleConfig":
        """The same with every open setting decided."""
        decided: dict[str, Any] = {}
        for item in fields(RULES[self.name]):
            if getattr(self, item.name) is None and "of_run" in item.metadata:
                default: Any = item.default
                decided[item.name] = max(1, min(default, int(tokens * item.metadata["of_run"])))
            elif getattr(self, item.name) is None and item.name == "k_aux":
                decided[item.name] = max(d_model // 2, 1)
        return self.model_copy(update=decided)


def section(rule: type[Rule]) -> type[RuleConfig]:
    """The section of a rule."""
    hints = get_type_hints(rule)
    made: dict[str, Any] = {
        "name": (Literal[rule.name], Field(default=rule.name, description="the rule's name")),
    }
    for item in sorted(fields(rule), key=lambda item: item.name == "dead_after"):
        about = item.metadata
        hint, default, description = hints[item.name], item.default, about["description"]
        if "of_run" in about:
            hint, default = hint | None, None
            description += f"; none: {item.default:,}, at most {about['of_run']:.0%} of the run"
        limits: dict[str, Any] = {key: about[key] for key in BOUNDS if key in about}
        if hint in (float, float | None):
            limits["allow_inf_nan"] = False
        made[item.name] = (hint, Field(default=default, description=description, **limits))
    return create_model(f"{rule.__name__}Config", __base__=RuleConfig, __doc__=rule.__doc__, **made)


def _tag(rule: Any) -> str:
    """Which of the sections a value is meant for."""
    return TAG + (rule["name"] if isinstance(rule, dict) else rule.name)


SECTIONS = {name: section(rule) for name, rule in RULES.items()}
if TYPE_CHECKING:
    AnyRule = RuleConfig
else:
    _tagged = tuple(Annotated[section, Tag(TAG + name)] for name, section in SECTIONS.items())
    AnyRule = Annotated[Union[_tagged], Discriminator(_tag)]  # noqa: UP007 — made at run time
