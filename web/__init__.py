"""The dashboard: FastAPI, Jinja and plotly over the feature store. Start it with `saebench serve`."""

from web.app import create_app

__all__ = ["create_app"]
