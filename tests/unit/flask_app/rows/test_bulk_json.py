"""Many rows of JSON: the fast decoder gives the same answers as the general reader."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_app.application import create_app
from flask_app.inference_protocol import request as v2_request
from flask_app.inference_protocol.clean_request import read_clean_request
from flask_app.rows.rows_decoder import RowsDecoder
from flask_app.settings import ApiSettings
from model_artifact.card import Feature

NAMES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
INFER = "/v2/models/iris/infer"

GOOD = "5.1 3.5 1.4 0.2 6 2.45 4.75 1.65 7.9 0.1".split()
RARE = [
    *"3 0 -0 -0.0 0.0 1e3 1E+2 1e-400 4.9e-324 2.4e-324 2.2250738585072014e-308 7.038531e-26 -1 0e0 4.35".split(),
    # Beyond a double, beyond float32, and at the limits of both.
    *"1e400 -1e400 1e39 3.4028235e38 3.4028234663852886e38 3.40282356779733e38 1.7976931348623159e308".split(),
    "340282346638528859811704183484516925440",
    "340282346638528859811704183484516925441",
    *"9007199254740993 18446744073709551616 123456789012345678901234567890".split(),
    *["9" * 310, "9" * 401, "0." + "0" * 330 + "1", "0.1" + "0" * 50 + "1", "1.00000005960464477539062500000000001"],
    # Values that are not numbers of JSON.
    *'NaN Infinity -Infinity nan true false null "5.1" 01 1. .5 + - +1 1e 1e+ 0x1 1_0 [1] {} tRue'.split(),
    *["", " 1 ", "1 2", "\t5", "\u00a05", "\uff15", "\x0b1", "1\x00"],
]


class Bodies:
    """Random requests: most are valid, some have one fault, a few have several."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def some(self, share: float) -> bool:
        return self.chance.random() < share

    def number(self) -> str:
        return self.chance.choice(RARE if self.some(0.03) else GOOD)

    def space(self) -> str:
        return self.chance.choice(["", "", "", " ", "\n", "\t", "  "])

    def row(self, by_name: bool) -> str:
        values = [self.number() for _ in NAMES]
        if self.some(0.03):
            values.append(self.number())
        if self.some(0.03):
            values.pop()
        if not by_name:
            name = "features" if self.some(0.97) else self.chance.choice(["feature", "features\\u0000", NAMES[0]])
            more = (
                "" if self.some(0.95) else self.chance.choice([',"x":1', ',"features":[1,2,3,4]', ',"sepal_width":1'])
            )
            return '{{"{}":{}[{}]{}}}'.format(name, self.space(), ",".join(values), more)
        names = [*NAMES, self.chance.choice([*NAMES, "x"])][: len(values)]
        if self.some(0.05):
            self.chance.shuffle(names)
        if self.some(0.05):
            strange = [
                "x",
                "",
                "instances",
                "features",
                "sepal\\u005flength",
                'a\\"b',
                "\u00e9",
                "petal_width\n",
                *NAMES,
            ]
            names[0] = self.chance.choice(strange)
        pairs = zip(names, values, strict=True)
        return "{{{}}}".format(
            ",".join(f'{self.space()}"{name}"{self.space()}:{value}{self.space()}' for name, value in pairs)
        )

    def instances(self) -> str:
        by_name = self.some(0.5)
        rows = [self.row(by_name != self.some(0.03)) for _ in range(self.chance.choice([0, 1, 1, 2, 3, 5, 40]))]
        more = [',"instances":[]', ',"x":1', ',"features":[1,2,3,4]', ",", ',"instances":[{"features":[1,2,3,4]}]']
        end = (
            ("" if self.some(0.95) else self.chance.choice(more))
            + "}"
            + ("" if self.some(0.95) else self.space() + "x")
        )
        return '{{"instances":{}[{}]{}'.format(self.space(), ("," + self.space()).join(rows), end)

    def tensor(self) -> list[str]:
        count = self.chance.choice([1, 1, 2, 3, 5])
        rows = [[self.number() for _ in NAMES] for _ in range(count)]
        if self.some(0.03):
            rows[0].append("1")
        nested = self.some(0.4)
        data = "[{}]".format(",".join(f"[{','.join(row)}]" if nested else ",".join(row) for row in rows))
        if self.some(0.03):
            data = self.chance.choice(["[]", "null", "1", "[[]]", "[null]", '"x"', "[[1,2,3,4],5]", f"[{data}]"])
        shapes = [f"[4,{count}]", f"[{4 * count}]", "[]", "[0,4]", "[-1,4]", "[1.0,4]", "[1,4,1]", "null", '["1",4]']
        datatypes = ["FP64", "FP16", "INT64", "INT8", "UINT64", "BOOL", "fp32"]
        names = ["x\\u0041", "a\nb", "\u00e9", "\\ud800", "\x7f", "sepal_length"]
        members = [
            '"name":"%s"' % ("input-0" if self.some(0.8) else self.chance.choice(names)),
            '"shape":%s' % (f"[{count},4]" if self.some(0.92) else self.chance.choice([*shapes, f"[{10**20},4]"])),
            '"datatype":"%s"' % ("FP32" if self.some(0.7) else self.chance.choice(datatypes)),
            f'"data":{data}',
        ]
        return self.disturbed(members, ['"extra":1', '"extra":{"a":1,"a":2}', *self.parameters()])

    def parameters(self) -> list[str]:
        values = [
            '{"content_type":"np"}',
            "{}",
            "null",
            '{"a":"\\""}',
            '{"binary_data_size":16}',
            '{"a":1,"a":2}',
            "[]",
        ]
        values += ['{"a":{"b":[1,"x",null,true,123456789012345678901]}}', '{"a":"x\ty"}', '{"a":NaN}', '{"a":1e999}']
        values += ['{"binary_data_output":true}', '{"binary_data_output":false,"binary_data_output":true}']
        return [f'"parameters":{value}' for value in values]

    def infer(self) -> str:
        inputs = "{{{}}}".format(",".join(self.tensor()))
        if self.some(0.15):
            count = self.chance.choice([1, 2, 3])
            shape = self.chance.choice(["[%d]", "[%d,1]"]) % count
            columns = [",".join(self.number() for _ in range(count)) for _ in NAMES]
            inputs = ",".join(
                f'{{"name":"{name}","shape":{shape},"datatype":"FP64","data":[{column}]}}'
                for name, column in zip(NAMES, columns, strict=True)
            )
        outputs = ['[{"name":"predict"}]', '[{"name":"predict_proba"},{"name":"predict"}]', "[]", "null", "{}"]
        outputs += ['[{"name":"predict"},{"name":"predict"}]', '[{"name":"x"}]', '[{"name":"predict","extra":1}]']
        outputs += ['[{"name":"predict","parameters":{"binary_data":true}}]', '[{"name":"predict","parameters":null}]']
        ids = ['"abc"', "null", "5", '"\\u00e9"', '"\u00e9"', '"a\\"b"', '"a\nb"', '"\x7f"', '""']
        members = [f'"inputs":[{inputs}]']
        if self.some(0.4):
            members.append(f'"outputs":{self.chance.choice(outputs)}')
        if self.some(0.3):
            members.append(f'"id":{self.chance.choice(ids)}')
        return "{{{}}}".format(",".join(self.disturbed(members, self.parameters()))) + ("" if self.some(0.97) else "x")

    def disturbed(self, members: list[str], more: list[str]) -> list[str]:
        if self.some(0.15):
            members.append(self.chance.choice(more))
        if self.some(0.03):
            members.append(self.chance.choice(members))
        if self.some(0.03):
            members.pop(self.chance.randrange(len(members)))
        if self.some(0.2):
            self.chance.shuffle(members)
        return members

    def garbled(self, text: str) -> bytes:
        body = bytearray(text.encode())
        kind = self.chance.random()
        if kind < 0.05:
            body[self.chance.randrange(len(body))] = self.chance.choice(b'0123456789.,-+eE"[]{}: \\\x00\x80\xff\xc3nN')
        elif kind < 0.07:
            del body[self.chance.randrange(len(body)) :]
        elif kind < 0.08:
            body = bytearray(b"\xef\xbb\xbf" + body)
        elif kind < 0.09:
            body = bytearray(text.encode("utf-16"))
        elif kind < 0.10:
            surrogate, invalid, long = b"\xed\xa0\x80", b"\xff", b"\xc0\x80"
            body = body.replace(b"input-0", self.chance.choice([surrogate, invalid, long]))
        return bytes(body)


def _taken(body: bytes, path: str, client: FlaskClient) -> bool:
    if path == INFER:
        return read_clean_request(body) is not None
    served = client.application.extensions["model_holder"].served
    return served.rows_decoder.decode(body, 100_000) is not None


@pytest.fixture(scope="module")
def slow_client(trained_store: Path) -> Iterator[FlaskClient]:
    """A client of an application without the fast decoder."""
    app = create_app(ApiSettings(model_store=str(trained_store)))

    def ask(*arguments: Any, **options: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RowsDecoder, "decode", lambda *_: None)
            patch.setattr(v2_request, "read_clean_request", lambda _: None)
            return client.post(*arguments, **options)

    client = app.test_client()
    asking = app.test_client()
    asking.post = ask
    yield asking
    app.extensions["model_holder"].stop()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("path", ["/predict", INFER])
def test_both_decoders_answer_the_same(client: FlaskClient, slow_client: FlaskClient, path: str, seed: int) -> None:
    bodies = Bodies(seed)
    outcomes = {(True, 200): 0, (False, 200): 0, (False, 422): 0, (False, 400): 0}
    for _ in range(400):
        body = bodies.garbled(bodies.infer() if path == INFER else bodies.instances())
        headers = {"Content-Type": "application/json", "X-Request-ID": "same"}
        fast, slow = (one.post(path, data=body, headers=headers) for one in (client, slow_client))
        assert (fast.status_code, fast.data) == (slow.status_code, slow.data), body
        assert fast.headers.get("Inference-Header-Content-Length") == slow.headers.get(
            "Inference-Header-Content-Length"
        )
        outcome = (_taken(body, path, client), fast.status_code)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert min(outcomes[key] for key in ((True, 200), (False, 422), (False, 400))) > 10, outcomes


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict", {"instances": [dict(zip(NAMES, [5.1, 3, 1.4, 0.2], strict=True))] * 3}),
        ("/predict", {"instances": [dict(zip(reversed(NAMES), [5.1, 3, 1.4, 0.2], strict=True))] * 3}),
        ("/predict", {"instances": [{"features": [5.1, 3, 1.4, 0.2]}] * 3}),
        ("/predict", {"instances": [{"features": [500, 3, 1.4, -0.2]}] * 3}),
        (INFER, {"inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP32", "data": [5.1, 3, 1.4, 0.2] * 2}]}),
        (INFER, {"inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP64", "data": [[5.1, 3, 1.4, 0.2]] * 2}]}),
        (
            INFER,
            {
                "id": "an id",
                "parameters": {"content_type": "np"},
                "inputs": [
                    {"name": name, "shape": [2], "datatype": "FP32", "data": [1, 2], "parameters": {"a": [{"b": "c"}]}}
                    for name in NAMES
                ],
                "outputs": [{"name": "predict_proba"}, {"name": "predict", "parameters": {"binary_data": False}}],
            },
        ),
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_usual_requests_take_the_fast_path(client: FlaskClient, path: str, body: Any, indent: int | None) -> None:
    assert _taken(json.dumps(body, indent=indent).encode(), path, client)
    assert client.post(path, json=body).status_code == 200


def _features(*names: str, dtype: str = "float") -> list[Feature]:
    return [Feature(name, None, dtype, 0, 1, {}) for name in names]  # type: ignore[arg-type]


def test_integer_features_must_be_whole() -> None:
    decoder = RowsDecoder([*_features("a"), *_features("b", dtype="integer")])
    assert decoder.decode(b'{"instances":[{"a":0.5,"b":2}]}', 10).tolist() == [[0.5, 2]]
    assert decoder.decode(b'{"instances":[{"a":0.5,"b":2.0}]}', 10).tolist() == [[0.5, 2]]
    assert decoder.decode(b'{"instances":[{"a":0.5,"b":2.5}]}', 10) is None


def test_features_with_the_names_of_members_are_not_mistaken_for_them() -> None:
    assert RowsDecoder(_features("instances")).decode(b'{"instances":[{"instances":1}]}', 10) is None
    decoder = RowsDecoder(_features("features"))
    assert decoder.decode(b'{"instances":[{"features":1}]}', 10).tolist() == [[1]]
    assert decoder.decode(b'{"instances":[{"features":[1]}]}', 10) is None


@pytest.mark.parametrize(
    "name", ['a "quoted" name', "back\\slash", "\u00e9\u4e2d", "sepal length (cm)", "class", "x" * 128]
)
def test_unusual_names_work(name: str) -> None:
    """The general reader handles names that msgspec does not support."""
    body = json.dumps({"instances": [{name: 1.5}]}, ensure_ascii=False).encode()
    matrix = RowsDecoder(_features(name)).decode(body, 10)
    assert matrix is None if name[:6] in ('a "quo', "back\\s") else matrix.tolist() == [[1.5]]


def test_no_rows_and_too_many_rows_take_the_general_path() -> None:
    decoder = RowsDecoder(_features("a"))
    assert decoder.decode(b'{"instances":[]}', 10) is None
    body = json.dumps({"instances": [{"a": 1}] * 11}).encode()
    assert decoder.decode(body, 10) is None
    assert decoder.decode(body, 11).shape == (11, 1)
