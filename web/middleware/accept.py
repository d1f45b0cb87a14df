"""Every page's data is at its address with `.json` added; whoever asks for JSON at the page's own address gets it."""

from starlette.types import ASGIApp, Receive, Scope, Send


class AcceptJson:
    """Sends GET requests whose `Accept` names JSON, and no HTML, to the `.json` of the address."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http" and scope["method"] in {"GET", "HEAD"}:
            accept = next((value for name, value in scope["headers"] if name == b"accept"), b"")
            path = scope["path"]
            if b"application/json" in accept and b"text/html" not in accept and not path.endswith(".json"):
                scope = {**scope, "path": "/home.json" if path == "/" else path + ".json"}
        await self.app(scope, receive, send)
