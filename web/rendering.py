"""Jinja: the environment, its filters, and pages as responses."""

from typing import Any

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, Response

from web import formats, markup
from web.figures.sparkline import sparkline
from web.navigation import NAVIGATION
from web.urls import TEMPLATES, urls


def json_block(data: Any) -> Markup:
    """JSON safe inside `<script type="application/json">`: no character that could end or open an element."""
    text = orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    for character, escaped in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(character, escaped)
    return Markup(text)


environment = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=True,
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
environment.globals.update(url=urls, navigation=NAVIGATION)
environment.filters.update(
    json=json_block,
    number=formats.number,
    large=formats.large,
    percent=formats.percent,
    quantity=formats.quantity,
    fixed=formats.fixed,
    signed=formats.signed,
    duration=formats.duration,
    sparkline=sparkline,
    token=markup.token_html,
    breakable=markup.breakable,
    context=markup.example_html,
    sources=markup.example_sources_html,
)


def json_answer(data: Any, headers: dict[str, str] | None = None) -> Response:
    """Plain data, dataclasses and NumPy arrays as a JSON response."""
    option = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z
    return Response(orjson.dumps(data, option=option), 200, headers, "application/json")


def page(template: str, status: int = 200, headers: dict[str, str] | None = None, **context: Any) -> HTMLResponse:
    """A template as a response."""
    return HTMLResponse(environment.get_template(template).render(context), status, headers)
