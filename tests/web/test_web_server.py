import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from saebench.errors import UserError
from web.server import serve

CODE = "import sys; from pathlib import Path; from web.server import serve; serve(Path(sys.argv[1]), port=0)"


def test_a_missing_workspace_is_one_clear_line(tmp_path: Path):
    with pytest.raises(UserError, match="does not exist; make one with `saebench demo"):
        serve(tmp_path / "none")


def test_a_port_in_use_is_one_clear_line(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match=r"is in use.*--port"):
        serve(tmp_path, port=taken.getsockname()[1])


def test_an_address_that_is_not_ours_is_one_clear_line(tmp_path: Path):
    with pytest.raises(UserError, match="cannot listen on"):
        serve(tmp_path, host="203.0.113.7")


def test_it_serves_until_interrupted_and_needs_no_torch(tmp_path: Path):
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", CODE + "; print('torch' in sys.modules)", str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert process.stdout is not None
    try:
        url = process.stdout.readline().split()[2]
        assert "No SAE in this workspace yet" in httpx.get(url, timeout=30).text
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
        assert rest.strip() in {"", "False"}
    finally:
        process.kill()
