"""The feature store: what each feature of a sparse autoencoder responds to, on the disk and from Python.

Knows numpy, pyarrow and duckdb; never torch. Reading: `FeatureStore`. Writing: `IndexWriter`. What exists: `Catalog`.
What people and explainers say of features: `Annotations`.
"""

from store.annotations import Annotations, FeatureList, Label, Listed, Note
from store.attribution import Unattributed
from store.blocks import ContextBlock, DecoderTables
from store.catalog import Catalog
from store.compare import Comparison
from store.dreams import Dream, DreamExample, DreamPrompt, find_dream, write_dream
from store.errors import StoreError
from store.example import Attribution, Band, Example, Negative, Source
from store.explanation import Explanation
from store.feature import Feature
from store.firing import Firings
from store.index import Context, Index
from store.known import Head, Histogram, InDocument, Logit, Logits, Neighbour, Partner, Stats
from store.maps import Map, find_map, write_map
from store.reader import FeatureStore
from store.relation import Relation
from store.remarks import Remarks, Said
from store.revision import revision
from store.workspace import index_id, indexes_folder, staging_folder
from store.writer import IndexWriter, find_index, stage_block

__all__ = [
    "Annotations",
    "Attribution",
    "Band",
    "Catalog",
    "Comparison",
    "Context",
    "ContextBlock",
    "DecoderTables",
    "Dream",
    "DreamExample",
    "DreamPrompt",
    "Example",
    "Explanation",
    "Feature",
    "FeatureList",
    "FeatureStore",
    "Firings",
    "Head",
    "Histogram",
    "InDocument",
    "Index",
    "IndexWriter",
    "Label",
    "Listed",
    "Logit",
    "Logits",
    "Map",
    "Negative",
    "Neighbour",
    "Note",
    "Partner",
    "Relation",
    "Remarks",
    "Said",
    "Source",
    "Stats",
    "StoreError",
    "Unattributed",
    "find_dream",
    "find_index",
    "find_map",
    "index_id",
    "indexes_folder",
    "revision",
    "stage_block",
    "staging_folder",
    "write_dream",
    "write_map",
]
