"""Commands that are loaded when they are run."""

import subprocess
import sys
from importlib import import_module

import pytest
from typer.testing import CliRunner

from saebench.cli import app
from saebench.cli.lazy import loaded

GROUPS = ("saebench.cli", "saebench.cli.circuit", "saebench.cli.interventions", "saebench.cli.unlearn")


@pytest.mark.parametrize("package", GROUPS)
def test_what_help_says_of_a_command_is_what_it_says_of_itself(package: str):
    for name, verb in import_module(package).VERBS.items():
        assert loaded(package, name, verb).help.partition("\n")[0] == verb.help, name


@pytest.mark.parametrize("package", GROUPS)
def test_every_command_can_be_reached(package: str):
    before = package.removeprefix("saebench.cli").split(".")[1:]
    for name in import_module(package).VERBS:
        result = CliRunner().invoke(app, [*before, name, "--help"])
        assert result.exit_code == 0, result.output
        assert f" {name} " in result.output


def test_a_misspelt_command_is_refused_and_the_nearest_named():
    result = CliRunner().invoke(app, ["circuit", "fnd"])
    assert result.exit_code == 2
    assert "No such command 'fnd'. Did you mean 'find'?" in result.output


@pytest.mark.parametrize("arguments", [["--help"], ["circuit", "--help"], ["--version"]])
def test_help_does_not_wait_for_torch(arguments: list[str]):
    run = "from saebench.cli import app; app(sys.argv[1:], standalone_mode=False); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {run}", *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "False"
