import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import synthetic

from store import FeatureStore

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def data() -> synthetic.Synthetic:
    return synthetic.Synthetic()


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one finished index; only to be read."""
    folder = tmp_path_factory.mktemp("workspace")
    synthetic.build(folder)
    return folder


@pytest.fixture(scope="session")
def store(workspace: Path):
    with FeatureStore.open(workspace, threads=1) as opened:
        yield opened


@pytest.fixture
def python() -> Callable[..., subprocess.Popen[str]]:
    """Start a Python process that can import the store and `synthetic`."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        path = os.pathsep.join([str(HERE), str(HERE.parent.parent)])
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", code, *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, env=environment, text=True, **pipes))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
