"""`saebench recipe`: every setting with its default and what it means, as YAML to start from."""

from collections.abc import Iterator

import yaml
from pydantic import BaseModel

from saebench.cli.recipe import Recipe


def lines(section: BaseModel, indent: int = 0) -> Iterator[str]:
    """YAML of a section with its fields' descriptions as comments."""
    pad = "  " * indent
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        comment = f"  # {field.description}" if field.description else ""
        if isinstance(value, BaseModel):
            yield f"{pad}{name}:{comment}"
            yield from lines(value, indent + 1)
        else:
            plain = section.model_dump(mode="json", include={name})[name]
            text = yaml.safe_dump(plain, default_flow_style=True, width=1000).removesuffix("...\n").strip()
            yield f"{pad}{name}: {text}{comment}"


def command() -> None:
    """Print the demo's recipe with every setting, its default and its meaning."""
    for line in lines(Recipe()):
        print(line)
