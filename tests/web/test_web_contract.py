"""Whatever is sent to any described route, the answer is one that is described, and never a failure of ours."""

import shutil
from pathlib import Path

import pytest
import schemathesis
import synthetic
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS, load_all_checks

import web
from saebench.lm import load_lm

load_all_checks()
WANTED = [
    CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
    )
]
ROUTES = [
    (path, method)
    for path, methods in web.create_app(Path(__file__).parent).openapi()["paths"].items()
    for method in methods
]
SAE_NAMES = ("sae_id", "sae", "a", "b")


@pytest.fixture(scope="module")
def schema(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> schemathesis.schemas.BaseSchema:
    """Of an app over a workspace of its own, since it will be written to."""
    copy = shutil.copytree(workspace, tmp_path_factory.mktemp("contract") / "workspace")
    return schemathesis.openapi.from_asgi("/openapi.json", web.create_app(copy, load_lm, hosts=None))


@pytest.mark.parametrize(("path", "method"), ROUTES, ids=[f"{method} {path}" for path, method in ROUTES])
def test_no_request_breaks_it(schema: schemathesis.schemas.BaseSchema, path: str, method: str):
    drawn = 0

    @settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=schema[path][method].as_strategy())
    def requests(case: schemathesis.Case):
        nonlocal drawn
        drawn += 1
        for parameters in (case.path_parameters, case.query):
            for name in SAE_NAMES:
                if drawn % 4 and parameters and name in parameters:
                    parameters[name] = synthetic.SAE  # one that is there, three times out of four
        if drawn % 4 and "feature" in case.path_parameters:
            case.path_parameters["feature"] = drawn
        if drawn % 4 and "circuit_id" in case.path_parameters:
            case.path_parameters["circuit_id"] = "brackets"
        for name, known in (("run_id", "tkinter.frequency"), ("set_id", "several")):
            if drawn % 4 and name in case.path_parameters:
                case.path_parameters[name] = known
        case.call_and_validate(checks=WANTED)

    requests()
    assert drawn >= 1
