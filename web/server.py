"""`saebench serve`: one process on one port, stopped with Ctrl-C."""

import errno
import ipaddress
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import uvicorn

from saebench.errors import UserError
from web.app import create_app
from web.middleware.origin import LOOPBACK

if TYPE_CHECKING:
    from saebench.lm import LanguageModel


SHORTEST_TOKEN = 16
"""Characters."""


def serve(workspace: Path, host: str = "127.0.0.1", port: int = 8000, token: str | None = None) -> None:
    """Serve the dashboard until interrupted; prints its URL once it listens.

    Args:
        workspace: what it shows.
        host, port: where it listens; port 0 takes any free one.
        token: what every request must bring. On an address that others can reach there is always one: where none is
            given it is drawn, and printed with the URL.

    Raises:
        UserError: no such workspace, port in use or not allowed, host that is not this machine's.
    """
    if not workspace.is_dir():
        raise UserError(f"workspace {workspace} does not exist; make one with `saebench demo --workspace {workspace}`")
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise UserError(f"a token has at least {SHORTEST_TOKEN} characters; leave --token out to have one drawn")
    outside = not is_loopback(host)
    if outside and token is None:
        token = secrets.token_urlsafe(24)
    listener = bind(host, port)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listener.getsockname()[1]}/" + (f"?token={quote(token)}" if token else "")
    print(f"saebench dashboard: {address}  (Ctrl-C stops it)", flush=True)
    app = create_app(workspace, load_lm, token=token, hosts=None if outside else LOOPBACK)
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    with listener:
        uvicorn.Server(config).run(sockets=[listener])


def load_lm(name: str, **how: str) -> "LanguageModel":
    """`saebench.lm.load_lm`, imported only when the test box is first used: the pages need no torch."""
    from saebench.lm import load_lm as load

    return load(name, **how)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, bound before anything is loaded, so that a busy port is told at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise UserError(_why(error, host, port)) from None
    return listener


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; stop what runs there or choose another with --port {port + 1}"
    if error.errno == errno.EACCES:
        return f"port {port} needs administrator rights; choose one above 1023 with --port 8000"
    return f"cannot listen on {host}:{port}: {error.strerror or error}; use --host 127.0.0.1"
