"""`GET /openapi.json` and `GET /docs`: complete, valid, and consistent with the served model."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from flask_app.openapi.document import make_document
from flask_app.rows.row_schema import RowSchema
from flask_app.settings import ApiSettings
from model_artifact.card import Feature

NOT_DOCUMENTED = {"/docs/", "/docs/{name}"}


@pytest.fixture(scope="module")
def document(client: FlaskClient) -> dict[str, Any]:
    return client.get("/openapi.json").json


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def media_types(document: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    for _, _, operation in operations(document):
        bodies = [operation.get("requestBody", {"content": {}}), *operation["responses"].values()]
        found += [media for body in bodies for media in body.get("content", {}).values()]
    return found


def test_document_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    validate(document, cls=OpenAPIV31SpecValidator)


def test_exactly_the_existing_paths_are_documented(client: FlaskClient, document: dict[str, Any]) -> None:
    served = {
        (re.sub("<([a-z]+)>", r"{\1}", rule.rule), method.lower())
        for rule in client.application.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    documented = {(path, method) for path, method, _ in operations(document)}
    assert {address for address in served if address[0] not in NOT_DOCUMENTED} == documented


def test_every_operation_has_an_id_and_problems(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    for _, method, operation in operations(document):
        expected = {"429", "500", "502", "504"} | ({"400", "413", "415", "422", "503"} if method == "post" else set())
        assert expected <= operation["responses"].keys()
        assert "200" in operation["responses"]


def test_every_example_is_valid(document: dict[str, Any]) -> None:
    count = 0
    for media in media_types(document):
        schema = {**media["schema"], "components": document["components"]}
        for example in media.get("examples", {}).values():
            Draft202012Validator(schema).validate(example["value"])
            count += 1
    assert count > 10


def _as_documented(answer: Any) -> Any:
    """Return an answer without its variable parts, and with rounded floats."""
    if isinstance(answer, dict):
        return {name: _as_documented(value) for name, value in answer.items() if name != "request_id"}
    if isinstance(answer, list):
        return [_as_documented(value) for value in answer]
    return pytest.approx(answer, abs=1e-6) if isinstance(answer, float) else answer


@pytest.mark.parametrize(
    ("path", "query", "request_name", "answer_name"),
    [
        ("/predict", "", "by_name", "one_row"),
        ("/predict", "", "by_position", "one_row"),
        ("/predict", "?explain=true", "by_name", "explained"),
        ("/predict", "", "many_rows", "many_rows"),
        ("/explain", "", "by_position", "one_row"),
        ("/v2/models/{name}/infer", "", "both_outputs", "both_outputs"),
    ],
)
def test_examples_are_real(
    client: FlaskClient, document: dict[str, Any], path: str, query: str, request_name: str, answer_name: str
) -> None:
    operation = document["paths"][path]["post"]
    request = operation["requestBody"]["content"]["application/json"]["examples"][request_name]["value"]
    documented = operation["responses"]["200"]["content"]["application/json"]["examples"][answer_name]["value"]
    answer = client.post(path.replace("{name}", "iris") + query, json=request)
    assert answer.status_code == 200
    assert answer.json.keys() == documented.keys()
    assert {name: value for name, value in answer.json.items() if name != "request_id"} == _as_documented(documented)


def test_the_csv_example_is_real(client: FlaskClient, document: dict[str, Any]) -> None:
    operation = document["paths"]["/predict"]["post"]
    request = operation["requestBody"]["content"]["text/csv"]["examples"]["csv"]["value"]
    documented = operation["responses"]["200"]["content"]["text/csv"]["examples"]["csv"]["value"]
    answer = client.post("/predict", data=request, content_type="text/csv")
    assert answer.status_code == 200
    assert _cells(answer.text) == _as_documented(_cells(documented))


def _cells(text: str) -> list[list[float | str]]:
    def cell(text: str) -> float | str:
        try:
            return float(text)
        except ValueError:
            return text.strip('"')

    return [[cell(text) for text in line.split(",")] for line in text.splitlines()]


def test_names_units_and_ranges_are_the_cards(document: dict[str, Any]) -> None:
    by_name, by_position = document["components"]["schemas"]["Row"]["oneOf"]
    petal = by_name["properties"]["petal_length"]
    assert "Trained on 1 to 6.9 cm" in petal["description"]
    assert petal["maximum"] > 1e38, "a value outside of the training range is answered"
    assert by_name["required"] == list(by_name["properties"])
    assert by_position["properties"]["features"]["minItems"] == 4
    assert document["components"]["schemas"]["Prediction"]["properties"]["class_name"]["enum"][0] == "setosa"


def test_the_schema_of_a_row_agrees_with_the_check() -> None:
    """For another model: integers, no unit, and a feature with the array's name."""
    features = [
        Feature(name="features", unit=None, dtype="integer", minimum=0, maximum=16, quantiles={}),
        Feature(name="width", unit="mm", dtype="float", minimum=0, maximum=1, quantiles={}),
    ]
    rows = RowSchema(features)
    validator = Draft202012Validator(rows.json_schema())
    for row in ({"features": 3, "width": 0.5}, {"features": 3.0, "width": 2}):
        assert validator.is_valid(row) and rows.read(row)
    for row in ({"features": 3.5, "width": 1}, {"features": [1, 2]}, {"width": 1}, {"features": 1, "width": 1e39}, []):
        assert not validator.is_valid(row)
        with pytest.raises(Exception, match=r"must be|missing"):
            rows.read(row)


def test_with_keys_every_protected_operation_is_marked(client: FlaskClient) -> None:
    served = client.application.extensions["model_holder"].served
    document = make_document(served, ApiSettings(api_keys=f"me:{'0' * 64}"))
    validate(document, cls=OpenAPIV31SpecValidator)
    assert document["paths"]["/health"]["get"]["security"] == []
    predict = document["paths"]["/predict"]["post"]
    assert predict["security"] == [{"bearer": []}, {"api_key": []}]
    assert "401" in predict["responses"]
    assert "securitySchemes" not in make_document(served, ApiSettings())["components"]


def test_a_new_version_has_a_new_document(
    make_app: Callable[..., Flask], store: Any, version: str, other_version: str, eventually: Callable[..., Any]
) -> None:
    client = make_app(store.root).test_client()
    assert client.get("/openapi.json").json["info"]["version"] == version
    assert client.get("/openapi.json").data == client.get("/openapi.json").data
    store.activate(other_version)
    eventually(lambda: client.get("/openapi.json").json["info"]["version"] == other_version)


def test_without_a_model_the_document_is_a_503_and_the_page_is_served(
    make_app: Callable[..., Flask], tmp_path: Path
) -> None:
    client = make_app(tmp_path).test_client()
    answer = client.get("/openapi.json")
    assert answer.status_code == 503 and "No model is loaded" in answer.json["detail"]
    assert client.get("/docs").status_code == 200
    # page.js shows that sentence.
    assert b".detail" in client.get("/docs/page.js").data


def test_the_page_is_complete_and_has_all_files(client: FlaskClient) -> None:
    page = client.get("/docs")
    assert page.data == client.get("/docs/").data
    names = re.findall(r'"/docs/([^"]+)"', page.text)
    assert len(names) == 5
    for name in names:
        assert client.get(f"/docs/{name}").status_code == 200
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("name", ["index.html", "VERSION", "x", "..", "../docs.py", "..%2f..%2fsettings.py", "%00"])
def test_no_other_file_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/docs/{name}").status_code in (400, 404)


def test_a_browser_revalidates_with_the_etag(client: FlaskClient) -> None:
    first = client.get("/docs/swagger-ui-bundle.js")
    assert first.headers["Cache-Control"] == "no-cache"
    assert client.get("/docs/swagger-ui-bundle.js", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304


def test_swagger_ui_can_show_openapi_31(client: FlaskClient) -> None:
    bundle = client.get("/docs/swagger-ui-bundle.js").text
    version = re.search(r'PACKAGE_VERSION:"(\d+)\.', bundle)
    assert version and int(version.group(1)) >= 5


def test_the_document_has_no_nan_or_infinity(client: FlaskClient) -> None:
    def reject(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(client.get("/openapi.json").data, parse_constant=reject)
