"""SAE × corpus → the feature store."""

from saebench.indexing.build import build_index
from saebench.indexing.config import IndexConfig

__all__ = ["IndexConfig", "build_index"]
