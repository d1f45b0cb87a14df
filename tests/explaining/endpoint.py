"""A server on 127.0.0.1 that speaks the OpenAI interface and answers by rule, or fails as it is told."""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any, dict[str, str]]
"""Status, body (text as it is, anything else as JSON), headers."""


def completion(text: Any) -> Reply:
    return 200, {"choices": [{"message": {"role": "assistant", "content": text}}]}, {}


def by_rule(messages: list[dict[str, str]]) -> str:
    """Explains by the token marked most often; judges by whether that token is there, or is marked."""
    system, user = messages[0]["content"], messages[1]["content"]
    if "EXPLANATION:" in system:
        [(token, _)] = Counter(re.findall("«(.*?)»", user, re.S)).most_common(1)
        return f"<think>EXPLANATION: no</think>They share it.\nEXPLANATION: the token {token!r}"
    token = eval(re.search(r"the token (.*)\n", user)[1])  # the repr it wrote itself
    texts = re.split(r"\nText \d+: ", user.partition("\n\n")[2].replace("Text 1: ", "\nText 1: ", 1))[1:]
    marked = "stand between « and »" in system
    return f"Here: {[int((f'«{token}»' if marked else token) in text) for text in texts]}"


class Endpoint(ThreadingHTTPServer):
    """`fail` is asked before each request is answered: a Reply instead of the answer, or None."""

    daemon_threads = True

    def __init__(self, fail: Callable[[int], Reply | None] = lambda _: None, answer=by_rule, key: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.fail, self.answer, self.key = fail, answer, key
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.most_at_once = self.now = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with server.lock:
            number = len(server.requests)
            server.requests.append(body)
            server.paths.append(self.path)
            server.now += 1
            server.most_at_once = max(server.most_at_once, server.now)
        time.sleep(0.002)
        if server.key and self.headers["authorization"] != f"Bearer {server.key}":
            reply: Reply = (401, {"error": {"message": "Incorrect API key provided"}}, {})
        else:
            reply = server.fail(number) or completion(server.answer(body["messages"]))
        with server.lock:
            server.now -= 1
        self._send(*reply)

    def _send(self, status: int, content: Any, headers: dict[str, str]) -> None:
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        try:
            self.send_response(status)
            for name, value in {"content-length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            pass  # whoever asked has gone

    def log_message(self, *_: Any) -> None:
        pass
