"""Pages of an index that was imported, of which much is unknown."""

import html
import re
from pathlib import Path

import numpy as np
import pytest
import synthetic
from delphi_files import save_splits
from fastapi.testclient import TestClient

import web
from store import FeatureStore
from store.interchange import export_sae_dashboard, import_delphi, import_sae_dashboard


@pytest.fixture(scope="module")
def imported(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    folder = tmp_path_factory.mktemp("imported")
    data = synthetic.Synthetic()
    export_sae_dashboard(store, folder / "sd", [0, 7, 11, 13, 40], sae=synthetic.SAE)
    import_sae_dashboard(folder / "w", folder / "sd", "examples")
    import_delphi(folder / "w", save_splits(folder / "hook", data, 1, np.uint32), data.vocabulary, [256], "codes")
    return TestClient(web.create_app(Path(folder / "w")), "http://127.0.0.1", raise_server_exceptions=False)


@pytest.mark.parametrize("sae", ["examples", "codes"])
@pytest.mark.parametrize("path", ["", "/features/0", "/features/7", "/features/11", "/features/13", "/features/39"])
def test_pages_and_their_data(imported: TestClient, sae: str, path: str):
    page = imported.get(f"/saes/{sae}{path}")
    assert page.status_code == 200
    assert not re.search(r"\bnan\b", page.text, re.IGNORECASE)
    data = imported.get(f"/saes/{sae}{path}.json")
    assert data.status_code == 200
    data.json()


@pytest.mark.parametrize(("sae", "says"), [("examples", "only the examples in the"), ("codes", "every code that")])
def test_pages_say_what_is_known(imported: TestClient, sae: str, says: str):
    assert says in html.unescape(imported.get(f"/saes/{sae}/features/7").text)
    assert imported.get("/").status_code == 200
