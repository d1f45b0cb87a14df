"""304 for what a browser has already: answered before anything is routed, opened or read.

A page made of an index, of what is said of its features and of the circuits that they are in depends on its address, on
the workspace's revision and on when a circuit was last written alone. Routes of such pages send `KEPT`; the tag that is
put on their answers is a hash of just these, so that a tag that comes back says everything.
"""

import hashlib
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from saebench.circuits.files import circuits_folder
from store import revision
from store.revision import changed
from web.urls import urls

KEPT = {"Cache-Control": "private, no-cache"}
"""What a route sends along when its answer holds until the workspace changes."""

_CHOOSING = (b"hx-request", b"hx-target")
"""Headers that choose between forms of one address; `Accept` has been made part of the path already."""


class Kept:
    """Tags answers that carry `KEPT`, and answers 304 where the tag comes back."""

    def __init__(self, app: ASGIApp, workspace: Path) -> None:
        self.app, self.workspace = app, workspace
        self._circuits = circuits_folder(workspace)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] not in {"GET", "HEAD"}:
            return await self.app(scope, receive, send)
        tag = self.tag(scope)
        if any(name == b"if-none-match" and value == tag for name, value in scope["headers"]):
            headers = [(b"etag", tag), *((name.lower().encode(), value.encode()) for name, value in KEPT.items())]
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            return await send({"type": "http.response.body", "body": b""})

        async def send_tagged(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                headers = MutableHeaders(scope=message)
                if headers.get("cache-control") == KEPT["Cache-Control"]:
                    headers["ETag"] = tag.decode()
                    headers.add_vary_header("Accept, HX-Request, HX-Target")
            await send(message)

        return await self.app(scope, receive, send_tagged)

    def tag(self, scope: Scope) -> bytes:
        """Tag of what is at an address now."""
        choice = [(name, value) for name, value in scope["headers"] if name in _CHOOSING]
        state = revision(self.workspace), changed(self._circuits)
        shown = (urls.fingerprint, state, scope["path"], scope["query_string"], choice)
        return b'"' + hashlib.blake2b(repr(shown).encode(), digest_size=12).hexdigest().encode() + b'"'
