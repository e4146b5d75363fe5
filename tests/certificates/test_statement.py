import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from neuralyzer.certificates import describe
from neuralyzer.certificates.statement import DigestSet, ProtocolRecord, Statement, StatementSubject
from neuralyzer.errors import CertificateError
from tests.certificates.example import predicate

PAGE = Path(__file__).parents[2] / "docs" / "certificate.md"


def statement():
    stated = predicate()
    digest = DigestSet(sha256=stated.weights.unlearned)
    return Statement(subject=[StatementSubject(name="w.safetensors", digest=digest)], predicate=stated)


def test_it_is_an_in_toto_statement():
    content = json.loads(statement().to_bytes())
    assert content["_type"] == "https://in-toto.io/Statement/v1"
    assert content["predicateType"] == "https://neuralyzer.dev/erasure/v1"
    assert content["subject"] == [
        {"name": "w.safetensors", "digest": {"sha256": predicate().weights.unlearned}},
    ]
    assert Statement.from_bytes(statement().to_bytes()) == statement()


def test_the_page_documents_every_field():
    assert describe.table() in PAGE.read_text(), "rewrite it with: python -m neuralyzer.certificates.describe"
    paths = [path for path, _, _ in describe.fields()]
    assert {"predicate.verification.families[].before.low", "predicate.protocol.digest", "_type"} <= set(paths)
    assert all(description for _, _, description in describe.fields())


def test_every_key_of_a_real_statement_is_described():
    described = {path for path, _, _ in describe.fields()}
    free = ("predicate.method.hyperparameters", "predicate.method.versions", "predicate.utility.")

    def walk(content, prefix):
        for key, value in content.items():
            path = f"{prefix}{key}"
            if prefix.startswith(free) and path not in described:
                continue
            entries = value if isinstance(value, list) and value and isinstance(value[0], dict) else []
            assert (path + "[]" if entries else path) in described or path + "[]" in described, path
            for entry in entries or ([value] if isinstance(value, dict) else []):
                walk(entry, f"{path}[]." if entries else f"{path}.")

    walk(json.loads(statement().to_bytes()), "")


def test_a_protocol_knows_when_it_was_changed():
    protocol = predicate().protocol
    assert protocol.recomputed() == protocol.digest
    content = protocol.model_dump()
    for field, value in {"alpha": 0.2, "max_trace": 2.0, "signals": ["margin"], "declared_at": "2026-01-01"}.items():
        changed = ProtocolRecord(**(content | {field: value}))
        assert changed.recomputed() != changed.digest


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("verdict", "fine"),
        ("p_value", float("nan")),
        ("p_value", 1.5),
        ("detectable", float("inf")),
        ("looks", -1),
        ("looks", "1"),
        ("unknown", 1),
    ],
)
def test_it_takes_nothing_else(field, value):
    stated = predicate().verification
    with pytest.raises(ValidationError):
        type(stated)(**(stated.model_dump() | {field: value}))


def test_dates_digests_and_hyperparameters_must_be_such():
    request = predicate().request
    with pytest.raises(ValidationError):
        type(request)(**(request.model_dump() | {"due": "soon"}))
    with pytest.raises(ValidationError):
        type(request)(**(request.model_dump() | {"commitment": "AIFinn"}))
    weights = predicate().weights
    with pytest.raises(ValidationError):
        type(weights)(original="abc", unlearned=weights.unlearned)
    method = predicate().method
    with pytest.raises(ValidationError):
        type(method)(**(method.model_dump() | {"hyperparameters": {"rate": float("nan")}}))


def test_a_payload_that_is_none_of_ours_names_the_field():
    content = json.loads(statement().to_bytes())
    content["predicate"]["weights"]["unlearned"] = "abc"
    with pytest.raises(CertificateError, match=r"predicate\.weights\.unlearned"):
        Statement.from_bytes(json.dumps(content).encode())
    with pytest.raises(CertificateError, match="no statement of ours"):
        Statement.from_bytes(b"no json")
