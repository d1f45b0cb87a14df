"""Lists of features worth a link, with how many features each holds."""

from typing import NamedTuple

from web.workspace import Row, Workspace


class Preset(NamedTuple):
    """A list that a link asks for."""

    name: str
    filter: str
    order: str = ""
    columns: str = ""
    hint: str = ""


PRESETS = (
    Preset("all", ""),
    Preset("rare", "density > 0 and density < 1e-4", hint="fire on less than 1 token in 10,000"),
    Preset("dense", "dense", "density desc", hint="fire on more than 10% of tokens"),
    Preset("dead", "dead", hint="fire on no token of this corpus"),
    Preset("duplicate", "duplicate", "nearest_cosine desc", "density,max,nearest", "decoder cosine with another > 0.9"),
    Preset("one token", "top_token_share > 0.9", "", "density,max,token,token_share", "one token carries over 90%"),
    Preset("position-locked", "position_locked", hint="half of their tokens are at one position"),
    Preset("first token", "bos_only", hint="fire only on the first token of a context"),
)

DEAD = "dead"
"""The filter that keeps dead features."""


class Counted(NamedTuple):
    """A preset and how many features it holds."""

    preset: Preset
    size: int


def counted(here: Workspace, index: Row) -> list[Counted]:
    """The lists of an index that hold anything."""
    found = [Counted(preset, here.count(index, preset.filter)) for preset in PRESETS]
    return [one for one in found if one.size]
