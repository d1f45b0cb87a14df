"""`saebench explain` as it is typed, on a real index and against a server on 127.0.0.1."""

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("store", "explaining")]

import synthetic
from endpoint import Endpoint, by_rule

from saebench.cli import app, main
from store import Annotations, FeatureStore

ALIVE = 296


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    synthetic.build(folder)
    return folder


@pytest.fixture
def workspace(built, tmp_path):
    return shutil.copytree(built, tmp_path / "ws")


@pytest.fixture
def explain(workspace, monkeypatch):
    """Run the command; returns what it prints."""
    monkeypatch.delenv("SAEBENCH_API_KEY", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def run(*arguments):
        result = CliRunner().invoke(app, ["explain", "--workspace", str(workspace), *map(str, arguments)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return run


def fail(monkeypatch, capsys, workspace, *arguments):
    """The error line of a command that must fail."""
    monkeypatch.setattr("sys.argv", ["saebench", "explain", "--workspace", str(workspace), *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    return line


def stored(workspace, **where):
    found = Annotations(workspace).explanations(synthetic.SAE)
    return [row for row in found if all(getattr(row, key) == value for key, value in where.items())]


def test_patterns_of_every_feature(explain, workspace):
    output = explain()
    rows = stored(workspace)
    assert {row.feature for row in rows} == set(range(300)) - set(synthetic.DEAD)
    assert all((row.method, row.scorer, row.split) == ("n2g", "n2g-f1", "scoring") for row in rows)
    for row in rows:
        info = row.info
        if row.score is not None and info["correct"]:
            precision, recall = info["correct"] / info["matched"], info["correct"] / info["strong"]
            assert row.score == pytest.approx(2 * precision * recall / (precision + recall))
            assert (info["precision"], info["recall"]) == (precision, recall)
    counts = [int(cell) for cell in re.findall(r"^(?:0\.\d–\d\.\d|none) +(\d+)", output, re.M)]
    assert sum(counts) == ALIVE
    again = explain()
    assert [row.made_at for row in stored(workspace)] == [row.made_at for row in rows]  # nothing was made twice
    assert again[again.index("score") :] == output[output.index("score") :]


def test_a_few_features_are_printed(explain):
    output = explain("--features", "20-22, 40,13")
    assert re.findall(r"^ *(\d+)  n2g-f1 (?:\d\.\d\d|–) +.*«.*»", output, re.M) == ["20", "21", "22", "40"]


def test_changed_settings_are_made_anew(explain, workspace):
    explain("--features", 20)
    [before] = stored(workspace)
    explain("--features", 20, "--set", "explain.fraction=0.3")
    [after] = stored(workspace)
    assert after.info["made_with"]["fraction"] == 0.3
    assert after.info["strong"] > before.info["strong"]


def test_a_language_model_explains_and_judges(explain, workspace, monkeypatch):
    with Endpoint(key="secret") as server:
        monkeypatch.setenv("SAEBENCH_API_KEY", "secret")
        asked = ("--method", "llm", "--endpoint", server.url, "--model", "tiny")
        small = (
            "--set",
            "explain.positives=10",
            "--set",
            "explain.negatives=10",
            "--set",
            "explain.endpoint.concurrency=3",
        )
        explain(*asked, *small, "--features", "20-27", "--score", "detection", "--score", "fuzzing")
        rows = stored(workspace, method="llm")
        assert sorted({row.scorer for row in rows}) == ["detection", "fuzzing"]
        assert {row.feature for row in rows} == set(range(20, 28))
        assert all(row.version == "1-tiny" and row.text.startswith("the token '") for row in rows)
        assert 2 <= server.most_at_once <= 3
        for row in rows:
            info = row.info
            right = info["right_positives"] / info["positives"], info["right_negatives"] / info["negatives"]
            assert row.score == pytest.approx(sum(right) / 2)
        # the features fire on a few tokens of their own, of which the answers know one: far better than guessing
        fuzzing = [row.score for row in rows if row.scorer == "fuzzing"]
        assert sum(fuzzing) / len(fuzzing) > 0.65, fuzzing
        n = len(server.requests)
        explain(*asked, *small, "--features", "20-27", "--score", "detection", "--score", "fuzzing")
        assert len(server.requests) == n  # all is kept
        explain(*asked, *small, "--features", "20-28", "--score", "detection")
        assert 1 < len(server.requests) - n <= 1 + 4


def test_patterns_can_be_judged_too(explain, workspace):
    with Endpoint(answer=lambda messages: str([1] * messages[1]["content"].count("Text "))) as server:
        explain("--features", "20,21", "--score", "detection", "--endpoint", server.url, "--model", "tiny",
                "--set", "explain.per_prompt=4")  # fmt: skip
        rows = stored(workspace, scorer="detection")
        assert [(row.feature, row.method, row.score) for row in rows] == [(20, "n2g", 0.5), (21, "n2g", 0.5)]
        assert [row.text for row in rows] == [row.text for row in stored(workspace, scorer="n2g-f1")]
        assert not any("EXPLANATION:" in request["messages"][0]["content"] for request in server.requests)


def test_a_failure_keeps_what_is_finished(workspace, monkeypatch, capsys, explain):
    arguments = ("--method", "llm", "--model", "tiny", "--features", "20-39", "--set", "explain.endpoint.concurrency=1")
    with Endpoint(lambda n: (400, {"error": {"message": "out of credit"}}, {}) if n == 5 else None) as server:
        error = fail(monkeypatch, capsys, workspace, *arguments, "--endpoint", server.url)
        assert "out of credit" in error
        assert 1 <= len(stored(workspace)) <= 5
        explain(*arguments, "--endpoint", server.url)
        assert {row.feature for row in stored(workspace)} == set(range(20, 40))
        assert len(server.requests) <= 6 + 20 - 4


def test_a_killed_run_goes_on(workspace, explain):
    def slow(messages):
        time.sleep(0.05)
        return by_rule(messages)

    with Endpoint(answer=slow) as server:
        arguments = ["explain", "--workspace", str(workspace), "--method", "llm", "--model", "tiny",
                     "--endpoint", server.url, "--set", "explain.endpoint.concurrency=2"]  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-m", "saebench", *arguments, "--features", "20-120"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        until = time.monotonic() + 60
        while len(server.requests) < 20 and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = len(stored(workspace))
        assert kept >= 10
        asked = len(server.requests)
        explain(*arguments[3:], "--features", "20-50")
        assert {row.feature for row in stored(workspace)} >= set(range(20, 51))
        assert len(server.requests) - asked <= 31 - kept


BAD = [
    (("--features", "x"), "no feature or range"),
    (("--features", "5-3"), "no feature or range"),
    (("--features", "1,,2"), "no feature or range"),
    (("--features", "300"), "it has 0 to 299"),
    (("--sae", "other"), "no index of 'other'"),
    (("--method", "llm"), "--endpoint URL --model NAME"),
    (("--score", "fuzzing", "--endpoint", "http://127.0.0.1:1/v1"), "--endpoint URL --model NAME"),
    (("--score", "detection", "--endpoint", "nowhere", "--model", "m"), "no URL"),
    (("--score", "embedding"), "explain.encoder=FOLDER"),
    (("--score", "embedding", "--set", "explain.encoder=./nowhere"), "does not exist"),
    (("--set", "explain.fraction=0"), "explain.fraction"),
    (("--set", "explain.examles=3"), "unknown key 'explain.examles'"),
]


@pytest.mark.parametrize(("arguments", "says"), BAD)
def test_bad_input(workspace, monkeypatch, capsys, arguments, says):
    assert says in fail(monkeypatch, capsys, workspace, *arguments)
    assert stored(workspace) == []


def test_no_workspace_and_no_index(monkeypatch, capsys, tmp_path):
    assert "no workspace" in fail(monkeypatch, capsys, tmp_path / "none")
    assert "no finished index" in fail(monkeypatch, capsys, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_key(workspace, monkeypatch, capsys):
    monkeypatch.setenv("SAEBENCH_API_KEY", "wr0ng")
    with Endpoint(key="right") as server:
        error = fail(
            monkeypatch,
            capsys,
            workspace,
            "--method",
            "llm",
            "--endpoint",
            server.url,
            "--model",
            "m",
            "--features",
            "20-29",
        )
    assert "refused the key" in error
    assert "wr0ng" not in error


def test_nothing_is_sent_unless_it_is_asked_for(explain, monkeypatch):
    """Every connection of the process is refused; explaining by patterns needs none."""
    import socket

    def refused(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refused)
    explain("--features", "20-30", "--endpoint", "http://127.0.0.1:9/v1", "--model", "m")


def test_ties_with_the_index(explain, workspace):
    """What a row says of the truth is what the index says."""
    explain("--features", 30)
    [row] = stored(workspace)
    with FeatureStore.open(workspace) as store:
        from store.split import segments

        split = segments(store.index())
        rows = store.sql("SELECT context, position, value FROM activation WHERE feature = 30").rows()
        side = {}
        for context, start, stop, scoring in zip(split.context, split.start, split.stop, split.scoring, strict=True):
            side.update({(int(context), position): bool(scoring) for position in range(start, stop)})
        explaining = [r["value"] for r in rows if not side[r["context"], r["position"]]]
        scoring = [r["value"] for r in rows if side[r["context"], r["position"]]]
        assert row.info["threshold"] == 0.5 * max(explaining)
        assert row.info["strong"] == sum(value >= 0.5 * max(explaining) for value in scoring)
        assert row.info["learnt_from"]["strong"] == sum(value >= 0.5 * max(explaining) for value in explaining)
