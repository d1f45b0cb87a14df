"""A language model behind an OpenAI-compatible endpoint.

Decisions:
- httpx, of the optional extra `explain`: nobody else needs it, so this module is imported only when it is wanted.
- What may pass (429, 5xx, time-outs, broken connections, answers that are no answers) is tried again, waiting longer
  each time or as long as the server asks. What will not pass by itself (a wrong key, an unknown model, a refused
  request) ends the run at once with the server's own words: every further request would fail alike.
"""

from __future__ import annotations

import random
import re
import threading
from types import TracebackType
from typing import Any, Self

import httpx

from saebench.errors import UserError
from saebench.explaining.config import EndpointConfig

PATH = "/chat/completions"
LONGEST_WAIT = 60.0
_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class Chat:
    """Asks one model; safe to share between threads. Use as a context manager."""

    def __init__(self, config: EndpointConfig, key: str | None, first_wait: float = 1.0) -> None:
        """Nothing is sent yet.

        Args:
            config: with URL and model.
            key: sent as a bearer token, if there is one.
            first_wait: seconds before the second try; doubles from try to try.

        Raises:
            UserError: no URL or no model, or something that is no URL.
        """
        if not config.url or not config.model:
            raise UserError("a language model is needed; name it with --endpoint URL --model NAME")
        if not _is_url(config.url):
            raise UserError(f"endpoint {config.url!r} is no URL; write for example http://127.0.0.1:8000/v1")
        self.url = config.url.rstrip("/").removesuffix(PATH)
        self.model = config.model
        self._config, self._first_wait = config, first_wait
        if key and not re.fullmatch(r"[!-~]+", key):
            raise UserError(f"the key in ${config.key_variable} has blanks or other characters that no key has")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(headers=headers, timeout=config.timeout)
        self._stopped = threading.Event()
        self._failure: UserError | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def ask(self, system: str, user: str) -> str:
        """The model's answer, without what it thought aloud between <think> tags.

        Raises:
            UserError: the endpoint refuses, or does not answer however often it is asked.
        """
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        body: dict[str, Any] = {"model": self.model, "messages": messages}
        if self._config.temperature is not None:
            body["temperature"] = self._config.temperature
        reason = ""
        for attempt in range(self._config.retries + 1):
            if self._stopped.is_set():
                raise self._fail(UserError("stopped"))
            wait = min(self._first_wait * 2.0**attempt * random.uniform(0.5, 1), LONGEST_WAIT)
            try:
                response = self._client.post(self.url + PATH, json=body)
            except httpx.TimeoutException:
                reason = f"no answer within {self._config.timeout:g} s"
            except httpx.HTTPError as error:
                reason = str(error) or type(error).__name__
            else:
                if response.status_code == 200:
                    answer = _content(response)
                    if answer is not None:
                        return answer
                    reason = f"an answer that is no chat completion: {response.text[:80]!r}"
                elif response.status_code in _TRANSIENT:
                    reason = f"{response.status_code} {_message(response)}"
                    wait = _asked_wait(response, wait)
                else:
                    raise self._fail(self._refused(response))
            if attempt < self._config.retries:
                self._stopped.wait(wait)
        raise self._fail(UserError(
            f"{self.url} gave no answer in {self._config.retries + 1} tries (last: {reason}); what is finished is "
            "kept, run the same command again to continue"
        ))  # fmt: skip

    def stop(self) -> None:
        """Let no thread begin another request."""
        self._stopped.set()

    def _fail(self, error: UserError) -> UserError:
        """The first error of any thread, after which no thread goes on."""
        with self._lock:
            self._failure = self._failure or error
            self._stopped.set()
            return self._failure

    def _refused(self, response: httpx.Response) -> UserError:
        if response.status_code in (401, 403):
            return UserError(
                f"{self.url} refused the key ({response.status_code} {_message(response)}); set it in the environment "
                f"variable {self._config.key_variable}"
            )
        return UserError(
            f"{self.url} refused the request for {self.model!r}: {response.status_code} {_message(response)}"
        )


def _is_url(url: str) -> bool:
    try:
        return httpx.URL(url).scheme in ("http", "https") and bool(httpx.URL(url).host)
    except httpx.InvalidURL:
        return False


def _content(response: httpx.Response) -> str | None:
    """The text of an answer, or None if it has none."""
    try:
        content = response.json()["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        return None
    if not isinstance(content, str):
        return None
    text = re.sub(r"(?s)^.*</think>", "", content).strip()
    return text or None


def _message(response: httpx.Response) -> str:
    """What the server says went wrong, in one short line."""
    try:
        error = response.json()["error"]
        text = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, LookupError, TypeError):
        text = response.text or response.reason_phrase
    return " ".join(text.split())[:200]


def _asked_wait(response: httpx.Response, otherwise: float) -> float:
    """Seconds that the server asks to wait, within reason."""
    try:
        return min(max(0.0, float(response.headers["retry-after"])), LONGEST_WAIT)
    except (KeyError, ValueError):
        return otherwise
