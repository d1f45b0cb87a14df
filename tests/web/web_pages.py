"""Pages opened in a real Chromium by the tests of a room, and what must never happen meanwhile."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

SIZES = {"desk": (1280, 800), "phone": (390, 844)}
expect.set_options(timeout=30_000)


@pytest.fixture
def opened(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages; afterwards: no console error, no exception, no request to anywhere but the server."""
    problems: list[str] = []
    contexts = []

    def open_page(address: str, theme: str = "light", size: str = "desk") -> Page:
        width, height = SIZES[size]
        context = chromium.new_context(color_scheme=theme, viewport={"width": width, "height": height})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda m: problems.append(m.text) if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith("http://127.0.0.1:") else problems.append(r.url))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [problem for problem in problems if "status of 4" not in problem] == []


def serious(report: dict) -> list[str]:
    """What axe-core finds serious or critical, with where."""
    return [
        f"{v['id']}: {[node['html'][:120] for node in v['nodes'][:3]]}"
        for v in report["violations"]
        if v["impact"] in {"serious", "critical"}
    ]
