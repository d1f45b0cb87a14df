import sys
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).parent), str(Path(__file__).parent.parent / "store")]

import synthetic

from store import FeatureStore, Index


@pytest.fixture(scope="session")
def data() -> synthetic.Synthetic:
    return synthetic.Synthetic()


@pytest.fixture(scope="session")
def read_only_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one index; only to be read."""
    folder = tmp_path_factory.mktemp("explained")
    synthetic.build(folder)
    return folder


@pytest.fixture(scope="session")
def store(read_only_workspace: Path):
    with FeatureStore.open(read_only_workspace, threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def index(store: FeatureStore) -> Index:
    return store.index()
