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

CODE = "import sys; from pathlib import Path; from web.server import serve; "
CODE += "serve(Path(sys.argv[1]), *sys.argv[2:], port=0)"


def test_a_missing_workspace_is_one_clear_line(tmp_path: Path):
    with pytest.raises(UserError, match="does not exist; make one with `saebench demo"):
        serve(tmp_path / "none")


def test_a_port_in_use_is_one_clear_line(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match=r"is in use.*--port"):
        serve(tmp_path, port=taken.getsockname()[1])


def test_an_address_that_is_not_ours_is_one_clear_line(tmp_path: Path):
    with pytest.raises(UserError, match="cannot listen on"):
        serve(tmp_path, host="203.0.113.7")


def test_a_token_that_can_be_guessed_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match="at least 16 characters"):
        serve(tmp_path, token="secret")


def test_where_others_can_reach_it_there_is_a_token(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(tmp_path), "0.0.0.0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().split()[2].replace("0.0.0.0", "127.0.0.1")
        bare, _, token = address.partition("?token=")
        assert len(token) >= 24
        assert httpx.get(bare, timeout=30).status_code == 401
        with httpx.Client(follow_redirects=True) as browser:
            page = browser.get(address)
            assert (page.status_code, str(page.url)) == (200, bare)
            assert browser.get(f"{bare}home.json").status_code == 200
    finally:
        process.kill()
        process.wait()


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
