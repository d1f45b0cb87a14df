"""The endpoint's client against a real server that fails in every way."""

import socket
import time

import pytest
from endpoint import Endpoint, completion

from saebench.errors import UserError
from saebench.explaining.chat import Chat
from saebench.explaining.config import EndpointConfig


def chat_with(server, key=None, first_wait=0.001, **settings):
    return Chat(EndpointConfig(url=server.url, model="tiny", **settings), key, first_wait)


def parrot(messages):
    return messages[-1]["content"].upper()


def test_one_question():
    with Endpoint(answer=parrot, key="secret") as server, chat_with(server, "secret") as chat:
        assert chat.ask("be loud", "hello") == "HELLO"
        [request] = server.requests
        assert server.paths == ["/v1/chat/completions"]
        assert request == {
            "model": "tiny", "temperature": 0.0,
            "messages": [{"role": "system", "content": "be loud"}, {"role": "user", "content": "hello"}],
        }  # fmt: skip


def test_the_whole_path_may_be_given_and_the_temperature_left_out():
    with Endpoint(answer=parrot) as server:
        config = EndpointConfig(url=f"{server.url}/chat/completions/", model="tiny", temperature=None)
        with Chat(config, None) as chat:
            assert chat.ask("", "a") == "A"
        assert "temperature" not in server.requests[0]


PASSING = {
    "429": (429, {"error": {"message": "slow down"}}, {"retry-after": "0"}),
    "500": (500, "<html>oops</html>", {}),
    "503": (503, {"error": "loading"}, {"retry-after": "soon"}),
    "no JSON": (200, "hello", {}),
    "no choices": (200, {"choices": []}, {}),
    "no list": (200, [1], {}),
    "no text": completion(None),
    "an empty text": completion(" "),
    "only thoughts": completion("<think>hm</think>"),
}


@pytest.mark.parametrize("kind", PASSING)
def test_what_passes_is_tried_again(kind):
    with Endpoint(lambda n: PASSING[kind] if n < 3 else None, parrot) as server, chat_with(server, retries=3) as chat:
        assert chat.ask("", "x") == "X"
        assert len(server.requests) == 4


@pytest.mark.parametrize("kind", PASSING)
def test_what_does_not_pass_ends_in_one_line(kind):
    with Endpoint(lambda _: PASSING[kind], parrot) as server, chat_with(server, retries=2) as chat:
        with pytest.raises(UserError, match=r"no answer in 3 tries .*run the same command again") as error:
            chat.ask("", "x")
        assert "\n" not in str(error.value)
        assert len(server.requests) == 3


def test_a_server_that_asks_for_time_gets_it():
    wait = (429, {}, {"retry-after": "0.3"})
    with Endpoint(lambda n: wait if n == 0 else None, parrot) as server, chat_with(server) as chat:
        started = time.monotonic()
        chat.ask("", "x")
        assert time.monotonic() - started >= 0.3


def test_time_outs():
    def hang(_):
        time.sleep(0.5)

    with Endpoint(hang, parrot) as server, chat_with(server, timeout=0.05, retries=1) as chat:
        with pytest.raises(UserError, match=r"no answer within 0\.05 s"):
            chat.ask("", "x")
        assert len(server.requests) == 2


def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = EndpointConfig(url=f"http://127.0.0.1:{port}/v1", model="tiny", retries=1)
    with Chat(config, None, 0.001) as chat, pytest.raises(UserError, match=r"in 2 tries .*refused"):
        chat.ask("", "x")


@pytest.mark.parametrize(
    ("status", "says"),
    [(403, "refused the key"), (400, "no such thing"), (404, "no such thing"), (307, "307"), (422, "no such thing")],
)
def test_what_will_not_pass_ends_at_once(status, says):
    reply = (status, {"error": {"message": "no such thing"}}, {"location": "http://127.0.0.1:9/elsewhere"})
    with Endpoint(lambda _: reply, parrot) as server, chat_with(server) as chat:
        with pytest.raises(UserError, match=says):
            chat.ask("", "x")
        with pytest.raises(UserError, match=says):  # and no thread asks again
            chat.ask("", "y")
        assert len(server.requests) == 1


def test_a_wrong_key_is_not_shown():
    with Endpoint(answer=parrot, key="right") as server, chat_with(server, "wr0ng") as chat:
        with pytest.raises(UserError, match="SAEBENCH_API_KEY") as error:
            chat.ask("", "x")
        assert "wr0ng" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "model", "key", "says"),
    [
        (None, "m", None, "--endpoint URL --model NAME"),
        ("http://a/v1", None, None, "--endpoint URL --model NAME"),
        ("a/v1", "m", None, "no URL"),
        ("ftp://a/v1", "m", None, "no URL"),
        ("http://", "m", None, "no URL"),
        ("http://[::", "m", None, "no URL"),
        ("http://a/v1", "m", "two words", "blanks"),
        ("http://a/v1", "m", "ключ", "blanks"),
        ("http://a/v1", "m", "line\n", "blanks"),
    ],
)
def test_bad_settings(url, model, key, says):
    with pytest.raises(UserError, match=says) as error:
        Chat(EndpointConfig(url=url, model=model), key)
    assert key is None or key not in str(error.value)
