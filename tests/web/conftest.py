# ruff: noqa: E402 (the synthetic index lives with the store's tests)
import json
import os
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, BrowserContext, Page, expect

sys.path[:0] = [str(Path(__file__).parent / place) for place in (".", "../store", "../circuits")]

import circuit_files
import hostile
import intervention_files
import synthetic
import tiny
from screens import SIZES

import web
from saebench.lm import load_lm
from store import Catalog, FeatureStore

CHROMIUM = ("/usr/bin/chromium", "/usr/bin/chromium-browser")


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic index with a real tiny model and SAE behind it, a hostile index, and an SAE still in training."""
    folder = tmp_path_factory.mktemp("web") / "workspace"
    folder.mkdir()
    synthetic.build(folder)
    hostile.build(folder)
    lm = tiny.write_lm(folder.parent / "tiny-lm")
    sae = folder / "saes" / synthetic.SAE
    tiny.write_sae(sae, lm, synthetic.N_FEATURES)
    rows = [
        {"step": s, "tokens": s * 2048, "loss": 0.1 + 1 / s, "fvu": 0.09 + 1 / s, "l0": 8.0, "dead": 0.02}
        for s in range(10, 2000, 10)
    ]
    (sae / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    training = folder / "saes" / tiny.TRAINING
    training.mkdir(parents=True)
    (training / "config.yaml").write_text("sae: {n_latents: 8192}\n")
    (training / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:5]) + '{"step": 60, "lo')
    Catalog(folder).put("harvest", "demo.stdlib-train", {"model": "demo", "tokens": 5_200_000})
    circuit_files.add_circuits(folder)
    intervention_files.add_interventions(folder)
    return folder


@pytest.fixture(scope="session")
def store(workspace: Path) -> Iterator[FeatureStore]:
    """The truth that pages are compared with."""
    with FeatureStore.open(workspace, threads=1) as opened:
        yield opened


@pytest.fixture(scope="session")
def client(workspace: Path) -> Iterator[TestClient]:
    with TestClient(web.create_app(workspace, load_lm), "http://127.0.0.1", raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture(scope="session")
def sae() -> str:
    """Address of the SAE's page."""
    return f"/saes/{synthetic.SAE}"


@pytest.fixture(scope="session")
def served(workspace: Path) -> Iterator[Callable[[Path], str]]:
    """Serve a workspace with a real uvicorn; gives its address."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def serve(path: Path) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(web.create_app(path, load_lm), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield serve
    for server, thread in running:
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def address(served: Callable[[Path], str], workspace: Path) -> str:
    return served(workspace)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A real Chromium. Where CI is set its absence is a failure."""
    from playwright.sync_api import sync_playwright

    found = next((path for path in CHROMIUM if Path(path).exists()), None)
    if found is None:
        message = "browser tests need Chromium; install it with: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def contexts(chromium: Browser) -> dict[str, BrowserContext]:
    """One per theme, so that its pages share a cache."""
    return {theme: chromium.new_context(color_scheme=theme) for theme in ("light", "dark")}


@pytest.fixture
def opened(contexts: dict[str, BrowserContext]) -> Iterator[Callable[..., Page]]:
    """Open pages; afterwards: no console error, no exception, no request to anywhere but the server."""
    expect.set_options(timeout=30_000)  # a page is slow where other tests run beside this one
    problems: list[str] = []
    pages: list[Page] = []

    def open_page(address: str, theme: str = "light", size: str = "desk") -> Page:
        width, height = SIZES[size]
        page = contexts[theme].new_page()
        page.set_viewport_size({"width": width, "height": height})
        pages.append(page)
        page.set_default_timeout(20_000)
        page.on("console", lambda m: problems.append(m.text) if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith("http://127.0.0.1:") else problems.append(r.url))
        page.goto(address)
        return page

    yield open_page
    for page in pages:
        page.evaluate("localStorage.clear()")
        page.close()
    # Chromium reports refusals; the tests that provoke them look at the page
    assert [problem for problem in problems if not re.search("status of 4(13|22)", problem)] == []
