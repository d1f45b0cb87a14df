"""The token that everybody needs where others can reach the dashboard."""

import hmac
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from web.errors import Problem, answer

COOKIE = "saebench_token"
_REMEDY = "Open the address that saebench serve printed, with ?token= at its end, or send Authorization: Bearer."


class TokenGate:
    """Lets through requests that bring the token: as a cookie, in an `Authorization: Bearer` header, or once as
    `?token=` in a page's address, which sets the cookie and is taken out of the address again.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.token = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = dict(scope["headers"])
        if self.right(cookie(headers)) or self.right(bearer(headers)):
            return await self.app(scope, receive, send)
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(query).get("token", "")
        if scope["method"] == "GET" and self.right(given):
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            path = "/" + scope["path"].lstrip("/")  # never //host, which would lead away
            response = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
            response.set_cookie(COOKIE, given, httponly=True, samesite="strict")
            return await response(scope, receive, send)
        said = "That is not the token." if given else "This dashboard is for those who have its token."
        problem = Problem(status=401, title="Token needed", cause=said, remedy=_REMEDY)
        return await answer(Request(scope), problem)(scope, receive, send)

    def right(self, given: str) -> bool:
        """Whether it is the token, in a time that does not tell how much of it is right."""
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.token)


def cookie(headers: dict[bytes, bytes]) -> str:
    """The token in the cookies."""
    try:
        found = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found else ""


def bearer(headers: dict[bytes, bytes]) -> str:
    """The token in the `Authorization` header."""
    kind, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""
