"""The hash that names an index: of everything that shapes its content, however the contexts were cut into parts."""

import hashlib
from typing import Any

from numpy.typing import NDArray

from store import coactivation, examples, negatives, statistics, tables
from store.migrations import migrations
from store.positions import WINDOW, flat
from store.staging import Part, canonical_json, read

_RECIPE = (
    (statistics.QUANTILES, statistics.BINS, tables.FLAGS, WINDOW),
    (examples.TOP, examples.BANDS, examples.PER_BAND, examples.RANDOM),
    (coactivation.PARTNERS, coactivation.MIN_TOGETHER, negatives.NEGATIVES, negatives.NEIGHBOURS),
)
"""What shapes the content besides the data: part of its hash, so that a changed recipe gives a new file."""


def content_hash(
    manifest: dict[str, Any], parts: list[Part], documents: list[list[Any]], inputs: dict[str, NDArray[Any]]
) -> str:
    """SHA-256 of everything an index is made from, however it was cut into parts."""
    columns = {name: hashlib.sha256() for name in ("tokens", "spans", "source", "segments", "place", "feature", "half")}
    for part in parts:
        contexts, codes = read(part.contexts), read(part.codes)
        for name in ("tokens", "spans"):
            columns[name].update(flat(contexts[name]).tobytes())
        for source in contexts["source"].to_pylist():
            columns["source"].update(len(source).to_bytes(8, "little") + source)
        columns["segments"].update(canonical_json(contexts["segments"].to_pylist())[1:-1].encode() + b",")
        for name in ("place", "feature", "half"):
            columns[name].update(codes[name].to_numpy().tobytes())
    whole = hashlib.sha256(canonical_json([_RECIPE, migrations("index"), manifest, documents]).encode())
    for name, digest in columns.items():
        whole.update(name.encode() + digest.digest())
    for name, array in sorted(inputs.items()):
        whole.update(f"{name}{array.dtype}{array.shape}".encode() + array.tobytes())
    return whole.hexdigest()
