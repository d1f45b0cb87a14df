"""The app factory: routes by resource, what stands before them, assets."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

import plotly
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from web import errors
from web.jobs.runner import JobRunner
from web.live import Live
from web.middleware.accept import AcceptJson
from web.middleware.headers import SecurityHeaders
from web.middleware.kept import Kept
from web.middleware.limits import BodyLimit
from web.middleware.origin import LOOPBACK, SameOrigin
from web.middleware.token import TokenGate
from web.routes import (
    annotations,
    circuit,
    circuits,
    compare,
    downloads,
    dreams,
    features,
    home,
    interventions,
    jobs,
    lists,
    live,
    maps,
    prompt,
    saes,
    saved,
    saved_pair,
    sql,
    steer,
    unlearning,
)
from web.urls import STATIC, urls
from web.workspace import Workspace

if TYPE_CHECKING:
    from saebench.lm import LanguageModel

ROUTERS = [
    resource.router
    for resource in (
        features,
        home,
        saes,
        downloads,
        live,
        prompt,
        steer,
        annotations,
        lists,
        compare,
        sql,
        jobs,
        maps,
        dreams,
        circuits,
        circuit,
        interventions,
        saved,
        saved_pair,
        unlearning,
    )
]
PLOTLY = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"

FOREVER = {"Cache-Control": "public, max-age=31536000, immutable"}


class Assets(StaticFiles):
    """Files whose path names their version: a browser may keep them for good."""

    def file_response(self, *args, **kwargs) -> Response:  # type: ignore[no-untyped-def]
        """The file, cacheable for good."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(FOREVER)
        return response


def create_app(
    workspace: Path,
    lm_loader: "Callable[..., LanguageModel] | None" = None,
    token: str | None = None,
    hosts: Collection[str] | None = LOOPBACK,
) -> FastAPI:
    """The dashboard over a workspace.

    Args:
        workspace: the directory that holds `catalog.duckdb`, `saes/` and `indexes/`.
        lm_loader: opens a language model (`saebench.lm.load_lm`), for what needs one; None turns that off.
        token: what everybody who asks must bring; None asks for none.
        hosts: the names that the dashboard goes by; None lets any pass.
    """
    app = FastAPI(
        title="saebench",
        description="Features of sparse autoencoders. Each page's data is also at its address with `.json` added.",
        version=urls.fingerprint,
        docs_url=None,
        redoc_url=None,
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(SameOrigin, hosts=hosts),
            *([Middleware(TokenGate, token=token)] if token else []),
            Middleware(BodyLimit),
            Middleware(AcceptJson),
            Middleware(Kept, workspace=workspace),
        ],
    )
    app.state.workspace = Workspace(workspace)
    app.state.jobs = JobRunner(workspace)
    app.state.live = Live(workspace, lm_loader) if lm_loader else None

    @app.get(urls.plotly, include_in_schema=False)
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
