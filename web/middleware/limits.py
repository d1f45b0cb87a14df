"""A bound on what a request may send: nobody has to read more into memory than a long text."""

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web.errors import ProblemError, answer

LARGEST_BODY = 256 * 1024
"""Bytes."""


class BodyLimit:
    """Answers 413 as soon as a request says, or turns out, to be longer than `LARGEST_BODY`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD"}:
            return await self.app(scope, receive, send)
        said = dict(scope["headers"]).get(b"content-length", b"0")
        if said.isdigit() and int(said) > LARGEST_BODY:
            return await answer(Request(scope), too_long().problem)(scope, receive, send)
        body, more = bytearray(), True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > LARGEST_BODY:
                return await answer(Request(scope), too_long().problem)(scope, receive, send)
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def receive_whole() -> Message:
            return whole.pop() if whole else await receive()

        return await self.app(scope, receive_whole, send)


def too_long() -> ProblemError:
    """What a body beyond the bound is told."""
    return ProblemError(413, "Too long", f"A request may send {LARGEST_BODY >> 10} KB at most.", "Send less at once.")
