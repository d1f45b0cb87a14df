"""A command line as a user meets it, in this process."""

import pytest

from saebench.cli import main


def run_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> tuple[int, str, str]:
    """(exit code, output, error lines) of `saebench …`."""
    monkeypatch.setattr("sys.argv", ["saebench", *map(str, words)])
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, error = capsys.readouterr()
    return code, out, error.strip()


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    """The same of `saebench store …`."""
    return run_line(monkeypatch, capsys, "store", *arguments)
