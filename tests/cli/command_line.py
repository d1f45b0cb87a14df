"""A `saebench store` command as a user meets it, in this process."""

import pytest

from saebench.cli import main


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> tuple[int, str, str]:
    """(exit code, output, error lines) of a command line."""
    monkeypatch.setattr("sys.argv", ["saebench", "store", *map(str, arguments)])
    try:
        main()
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, error = capsys.readouterr()
    return code, out, error.strip()
