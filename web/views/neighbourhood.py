"""Where a feature stands in the list it was opened from: what the arrow keys walk."""

from typing import Any, NamedTuple

import numpy as np

from store import StoreError
from web.formats import large
from web.workspace import Workspace


class Place(NamedTuple):
    """The features before and after, and the place in words."""

    previous: int | None
    next: int | None
    words: str


def place_in_list(
    here: Workspace, index: dict[str, Any], feature: int, filter: str, order: str, search: str = ""
) -> Place:
    """By number where no list is named or the list does not hold the feature."""
    if filter or order or search:
        try:
            numbers = here.listing(index, filter, order, search)
        except StoreError:
            numbers = np.zeros(0, np.int64)
        at = np.flatnonzero(numbers == feature)
        if at.size:
            i = int(at[0])
            before = int(numbers[i - 1]) if i > 0 else None
            after = int(numbers[i + 1]) if i + 1 < len(numbers) else None
            by = f" by {order.removesuffix(' desc').replace('_', ' ')}" if order else ""
            which = "".join([f" found by {search}" if search else "", f" with {filter}" if filter else ""])
            return Place(before, after, f"{large(i + 1)} of {large(len(numbers))}{which}{by}")
    last = index["n_features"] - 1
    return Place(feature - 1 if feature > 0 else None, feature + 1 if feature < last else None, "")
