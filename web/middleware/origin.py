"""Who may speak to the dashboard through a browser: its own pages, under its own name.

A page of another site could make a reader's browser send requests here: writes, which are refused, or, by giving its
own host name this machine's address (DNS rebinding), reads, which the check of the host's name refuses.
"""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from web.errors import Problem, answer

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class SameOrigin:
    """Refuses writes that another site's page sends and, unless any name will do, requests to other host names."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] | None = LOOPBACK) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and (problem := self.refusal(scope)) is not None:
            return await answer(Request(scope), problem)(scope, receive, send)
        return await self.app(scope, receive, send)

    def refusal(self, scope: Scope) -> Problem | None:
        """Why a request is not let through, if it is not."""
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        if self.hosts is not None and name_of(f"//{host}") not in self.hosts:
            cause = f"This dashboard does not go by the name {host[:80]!r}."
            return Problem(status=421, title="Another host's name", cause=cause, remedy="Open it as http://127.0.0.1.")
        if scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            return None
        origin = headers.get(b"origin", b"").decode("latin-1")
        site = headers.get(b"sec-fetch-site", b"").decode("latin-1")
        if site in {"cross-site", "same-site"} or (origin and authority(origin) != host):
            cause = "Another site's page asked for a change here."
            return Problem(status=403, title="Refused", cause=cause, remedy="Change it from the dashboard itself.")
        return None


def name_of(address: str) -> str | None:
    """The host's name in an address, without port; None if there is none."""
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def authority(origin: str) -> str:
    """Host and port of an origin as a browser sends it; nothing of the opaque origin `null`."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
