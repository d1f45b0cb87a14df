"""The order in which a model computes the sites of circuits. Only names: needs no torch."""

from collections.abc import Iterable

from saebench.errors import UserError

EMBEDDING = "hook_embed"
_ORDER = ("hook_resid_pre", "attn.hook_z", "hook_attn_out", "hook_resid_mid", "hook_mlp_out", "hook_resid_post")


def layer_of(hook_point: str) -> int:
    """The block of a hook point; −1 for the embedding."""
    return -1 if hook_point == EMBEDDING else int(hook_point.split(".")[1])


def in_order(hook_points: Iterable[str]) -> list[str]:
    """Hook points in the order in which a model computes them.

    Raises:
        UserError: one that is none of a block's inputs, outputs and sums.
    """

    def place(hook_point: str) -> tuple[int, int]:
        if hook_point == EMBEDDING:
            return -1, 0
        block, _, kind = hook_point.partition(".")[2].partition(".")
        if not block.isdigit() or kind not in _ORDER:
            raise UserError(f"circuits cannot use the site {hook_point!r}; the usual ones are {', '.join(_ORDER)}")
        return int(block), _ORDER.index(kind)

    return sorted(hook_points, key=place)
