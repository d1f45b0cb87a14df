"""The app factory: routes by resource, security headers, assets."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import plotly
from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from web import errors
from web.live import Live, LiveEncoder
from web.routes import features, home, live, saes
from web.urls import STATIC, urls
from web.workspace import Workspace

if TYPE_CHECKING:
    from saebench.lm import LanguageModel

ROUTERS = [resource.router for resource in (home, saes, features, live)]
PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"

# plotly.js makes two style elements: an empty one that it fills through the CSSOM, and maplibre's sheet. Their hashes
# let both in; nothing else inline is allowed.
CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'self'",
        "style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
        " 'sha256-ji27qzEtxXZW+7dun6UwjHXJ18e6WAin1VvNtkzIE/o='",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)
SECURITY = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}


class Assets(StaticFiles):
    """Files whose path names their version: a browser may keep them for good."""

    def file_response(self, *args, **kwargs) -> Response:  # type: ignore[no-untyped-def]
        """The file, cacheable for good."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(FOREVER)
        return response


class SecurityHeaders:
    """Puts the security headers on every response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY)
            await send(message)

        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def create_app(
    workspace: Path,
    lm_loader: "Callable[..., LanguageModel] | None" = None,
    live: Live | None = None,
) -> FastAPI:
    """The dashboard over a workspace.

    Args:
        workspace: the directory that holds `catalog.duckdb`, `saes/` and `indexes/`.
        lm_loader: opens a language model (`saebench.lm.load_lm`), for the test box; None turns the box off.
        live: encodes text with an SAE, in place of the encoder made from `lm_loader`.
    """
    app = FastAPI(
        title="saebench",
        description="Features of sparse autoencoders. Each page's data is also at its address with `.json` added.",
        version=urls.fingerprint,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(SecurityHeaders)
    app.state.workspace = Workspace(workspace)
    app.state.live = live or (LiveEncoder(workspace, lm_loader) if lm_loader else None)

    @app.get(urls.plotly(), include_in_schema=False)
    def plotly_js() -> FileResponse:
        return FileResponse(PLOTLY, media_type="text/javascript", headers=FOREVER)

    @app.get("/favicon.ico", include_in_schema=False)
    def favicon() -> FileResponse:
        return FileResponse(STATIC / "icon.svg", media_type="image/svg+xml")

    app.mount(f"/static/{urls.fingerprint}", Assets(directory=STATIC), name="static")
    for router in ROUTERS:
        app.include_router(router)
    errors.install(app)
    return app
