"""Where a feature stands in the list it was opened from: what the arrow keys walk."""

from typing import Any, NamedTuple

import numpy as np

from store import StoreError
from web.formats import large
from web.workspace import Workspace


class Place(NamedTuple):
    """The features before and after, each with its SAE, and the place in words."""

    previous: tuple[str, int] | None
    next: tuple[str, int] | None
    words: str


def place_on_list(here: Workspace, sae_id: str, feature: int, name: str) -> Place | None:
    """A feature's place on a list that somebody keeps; None if it is not on it."""
    listed = [(row["sae"], row["feature"]) for row in here.store.listed(name).select("sae", "feature").rows()]
    if (sae_id, feature) not in listed:
        return None
    i = listed.index((sae_id, feature))
    before, after = listed[i - 1] if i > 0 else None, listed[i + 1] if i + 1 < len(listed) else None
    return Place(before, after, f"{large(i + 1)} of {large(len(listed))} on {name}")


def place_in_list(
    here: Workspace, index: dict[str, Any], feature: int, filter: str, order: str, search: str = ""
) -> Place:
    """By number where no list is named or the list does not hold the feature."""
    sae_id = index["sae_id"]
    if filter or order or search:
        try:
            numbers = here.listing(index, filter, order, search)
        except StoreError:
            numbers = np.zeros(0, np.int64)
        at = np.flatnonzero(numbers == feature)
        if at.size:
            i = int(at[0])
            before = (sae_id, int(numbers[i - 1])) if i > 0 else None
            after = (sae_id, int(numbers[i + 1])) if i + 1 < len(numbers) else None
            by = f" by {order.removesuffix(' desc').replace('_', ' ')}" if order else ""
            which = "".join([f" found by {search}" if search else "", f" with {filter}" if filter else ""])
            return Place(before, after, f"{large(i + 1)} of {large(len(numbers))}{which}{by}")
    last = index["n_features"] - 1
    before = (sae_id, feature - 1) if feature > 0 else None
    return Place(before, (sae_id, feature + 1) if feature < last else None, "")
