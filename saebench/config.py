"""Every YAML file a user writes: pydantic models, loading, overrides, errors of one line.

A recipe has one section for each step; a command reads the sections that it needs. The defaults are the
demo's, so that an empty recipe is the demo.
"""

from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from saebench.errors import UserError

T = TypeVar("T", bound=BaseModel)
Precision = Literal["float16", "bfloat16", "float32"]


class Section(BaseModel):
    """A part of a recipe: unknown keys are errors, values never change once loaded.

    Where a section within is given in part, what the default sets of it stays beside that: one key changes one value.
    If it names another thing (`name`: a corpus, a rule), what was set for the default's has no meaning for it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _beside_defaults(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {name: value for name, value in data.items() if isinstance(value, dict) and name in cls.model_fields}
        return data | {name: _beside(value, cls.model_fields[name].default) for name, value in given.items()}


def _beside(given: dict[str, Any], default: Any) -> dict[str, Any]:
    if not isinstance(default, BaseModel):
        return given
    name = getattr(default, "name", None)
    return given if given.get("name", name) != name else default.model_dump(exclude_unset=True) | given


class ModelConfig(Section):
    """Which language model is opened, and how it computes."""

    name: str = Field("demo", description="`demo` (bundled), a local Hugging Face folder, or a hub name")
    revision: str | None = Field(None, description="hub revision (branch, tag or commit)")
    device: str = Field("cpu", description="torch device: cpu, cuda, cuda:1 …")
    precision: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="arithmetic of the forward pass; auto: bfloat16 where the hardware multiplies it faster"
    )


class CorpusConfig(Section):
    """Which text is read, and how it is cut into contexts."""

    name: str = Field(
        "stdlib-train",
        description="`stdlib-train`, `stdlib-heldout`, a local file or folder (.txt .py .md .jsonl .parquet), "
        "or a hub dataset",
    )
    subset: str | None = Field(None, description="hub dataset configuration name")
    split: str = Field("train", description="hub dataset split")
    text_field: str = Field("text", description="column that holds the text (JSONL, Parquet, hub)")
    context_length: int | None = Field(None, ge=2, description="tokens per context; default: the model's own")
    skip_documents: int = Field(0, ge=0, description="documents passed over first: held-out text of one long stream")
    max_tokens: int | None = Field(None, ge=1, description="stop after about so many tokens (whole contexts)")
    seed: int = Field(0, description="order in which the documents of a local corpus are read")


class HarvestConfig(Section):
    """What is kept of the forward pass, and how it is written."""

    hook_points: list[str] = Field(["blocks.2.hook_resid_post"], min_length=1, description="TransformerLens names")
    precision: Precision = Field("float16", description="of the shards on disk")
    batch_contexts: int = Field(32, ge=1, description="contexts per forward pass")
    shard_batches: int = Field(16, ge=1, description="forward passes per shard: what a kill can lose")


def load_recipe(kind: type[T], path: Path | None, overrides: list[str]) -> T:
    """Read a recipe, apply `section.key=value` overrides (values are YAML) and validate it.

    Raises:
        UserError: missing file, bad YAML, unknown key or bad value, each with its place in the file.
    """
    data: dict[str, Any] = {}
    if path is not None:
        try:
            data = yaml.safe_load(path.read_text()) or {}
        except OSError as error:
            raise UserError(f"cannot read recipe {path}: {error.strerror}") from None
        except yaml.YAMLError as error:
            raise UserError(f"recipe {path} is not valid YAML: {' '.join(str(error).split())}") from None
        if not isinstance(data, dict):
            raise UserError(f"recipe {path} must be a mapping of sections, not a {type(data).__name__}")
    for override in overrides:
        apply_override(data, override)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise UserError(f"{path or 'recipe'}: {explain(error)}") from None


def apply_override(data: dict[str, Any], override: str) -> None:
    """Set one `a.b.c=value` in nested mappings, in place."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise UserError(f"--set {override!r} is not KEY=VALUE; write for example --set train.sae.rule.k=64")
    *path, last = key.split(".")
    for part in path:
        data = data.setdefault(part, {})
        if not isinstance(data, dict):
            raise UserError(f"--set {override!r}: {part!r} is a value, not a section")
    try:
        data[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"--set {override!r}: the value is not valid YAML; quote it") from None


TAG = "/"
"""Begins the tags of tagged unions: pydantic puts them among the keys of an error's place, where nobody wrote them."""


def explain(error: ValidationError) -> str:
    """The first validation error in one line: where, what, and how many more there are."""
    first, *rest = error.errors()
    place = ".".join(str(part) for part in first["loc"] if not str(part).startswith(TAG))
    more = f" (and {len(rest)} more)" if rest else ""
    if first["type"] == "extra_forbidden":
        return f"unknown key {place!r}; `saebench recipe` prints the known ones{more}"
    said = f"{place}: {first['msg'].removeprefix('Value error, ')}"
    whole = isinstance(first["input"], dict | list)  # what is wrong is between its parts, and it may be long
    return f"{said}{more}" if whole else f"{said}, got {first['input']!r}{more}"
