import base64
import io
import json
import shutil

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from neuralyzer.certificates.certify import certify, public_key_beside
from neuralyzer.certificates.check import check
from neuralyzer.certificates.dsse import sign
from neuralyzer.certificates.statement import LIMITS, PAYLOAD_TYPE
from neuralyzer.errors import CertificateError, UnreadableError
from neuralyzer.models.weights import tensors_digest
from neuralyzer.workspace import digests
from neuralyzer.workspace.paths import Workspace
from neuralyzer.workspace.signing_keys import key_id, signing_key
from tests.certificates.example import predicate


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def resign(certified, change, kind=PAYLOAD_TYPE):
    """What a dishonest operator can do: change the content and sign it anew."""
    content = json.loads(base64.b64decode(json.loads(certified.path.read_text())["payload"]))
    change(content)
    envelope = sign(json.dumps(content).encode(), kind, signing_key(certified.workspace))
    certified.path.write_text(json.dumps(envelope))


def test_a_good_certificate(certified):
    key = certified.workspace.keys / "signing.pub.pem"
    found = check(certified.path, certified.weights, key)
    assert found.ok and found.failures == []
    assert found.predicate == predicate().model_dump(mode="json")
    assert found.keyid == key_id(signing_key(certified.workspace).public_key())
    assert found.limits == list(LIMITS)
    assert "assumes an honest operator" in found.limits[0] and "2408.00929" in found.limits[0]
    json.dumps(found.to_dict(), allow_nan=False)


def test_it_can_be_checked_elsewhere_with_the_key_beside_it(certified, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in (certified.path, public_key_beside(certified.path), certified.weights):
        shutil.copy(path, elsewhere)
    found = check(elsewhere / "certificate.json", elsewhere / "unlearned.safetensors")
    assert found.ok
    assert any("not who signed it" in limit and found.keyid in limit for limit in found.limits)


def test_without_weights_it_says_that_they_were_not_compared(certified):
    found = check(certified.path)
    assert found.ok
    assert any("No weights file was given" in limit for limit in found.limits)


def test_limits_of_the_certificate_itself_are_told(certified, tmp_path):
    stated = predicate(limits=["It knows nothing of Tuesdays."])
    path = certify(stated, certified.weights, certified.workspace, tmp_path / "other.json")
    assert set(check(path).limits) >= {*LIMITS, "It knows nothing of Tuesdays."}


def test_other_weights(certified):
    certified.weights.write_bytes(b"the original weights")
    found = check(certified.path, certified.weights)
    assert not found.ok
    assert "is not the file certified" in found.failures[0]
    assert found.limits[: len(LIMITS)] == list(LIMITS)


def test_another_key(certified, tmp_path):
    other = Workspace(tmp_path / "other")
    signing_key(other)
    found = check(certified.path, certified.weights, other.keys / "signing.pub.pem")
    assert not found.ok and found.predicate is None
    assert "another key signed it" in found.failures[0]
    assert "was not compared" in found.failures[1]


def test_signature_of_another_certificate(certified):
    edit(certified.path, signatures=sign(b"other", PAYLOAD_TYPE, signing_key(certified.workspace))["signatures"])
    assert "changed after signing" in check(certified.path).failures[0]


def test_changed_payload(certified):
    content = json.loads(base64.b64decode(json.loads(certified.path.read_text())["payload"]))
    content["predicate"]["verification"]["p_value"] = 0.99
    edit(certified.path, payload=base64.b64encode(json.dumps(content).encode()).decode())
    found = check(certified.path)
    assert not found.ok and found.predicate is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.data())
def test_any_flipped_byte_of_the_payload_is_caught(certified, data):
    good = certified.path.read_bytes()
    envelope = json.loads(good)
    payload = bytearray(base64.b64decode(envelope["payload"]))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        edit(certified.path, payload=base64.b64encode(payload).decode())
        found = check(certified.path, certified.weights)
    finally:
        certified.path.write_bytes(good)
    assert not found.ok and found.predicate is None and found.limits


@pytest.mark.parametrize("keep", [0, 1, 0.5, 0.99])
def test_truncated(certified, keep):
    content = certified.path.read_bytes()
    certified.path.write_bytes(content[: int(keep if keep == 1 else keep * (len(content) - 2))])
    with pytest.raises(UnreadableError, match="truncated"):
        check(certified.path)


def test_missing(tmp_path, certified):
    with pytest.raises(UnreadableError, match="does not exist"):
        check(tmp_path / "none.json")
    with pytest.raises(UnreadableError, match="cannot read"):
        check(certified.path, tmp_path / "none.safetensors")
    with pytest.raises(CertificateError, match="cannot read the key"):
        check(certified.path, public_key=tmp_path / "none.pem")


@pytest.mark.parametrize("content", ["[]", "3", "{}", '{"payload": "AA==", "payloadType": "x", "signatures": []}'])
def test_json_that_is_no_certificate(certified, content):
    certified.path.write_text(content)
    found = check(certified.path, certified.weights)
    assert not found.ok and found.limits[: len(LIMITS)] == list(LIMITS)


def test_no_key_and_a_key_that_is_none(certified):
    beside = public_key_beside(certified.path)
    beside.write_bytes(b"no key")
    assert "no public key in PEM" in check(certified.path).failures[0]
    beside.unlink()
    found = check(certified.path)
    assert "no public key to check with" in found.failures[0] and found.keyid is None


def test_another_payload_type(certified):
    resign(certified, lambda content: None, kind="application/json")
    assert "payloadType" in check(certified.path).failures[0]


def test_another_protocol_than_the_one_declared(certified):
    resign(certified, lambda content: content["predicate"]["protocol"].update(alpha=0.2))
    failures = check(certified.path).failures
    assert len(failures) == 1 and "not the one declared before unlearning" in failures[0]


def test_a_subject_that_is_not_the_unlearned_weights(certified):
    resign(certified, lambda content: content["subject"][0]["digest"].update(sha256=64 * "0"))
    assert "contradicts itself" in check(certified.path).failures[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.update(predicateType="https://example.com/other"),
        lambda content: content["predicate"].pop("limits") and content["predicate"].pop("method"),
        lambda content: content["predicate"].update(more=1),
    ],
)
def test_another_statement(certified, change):
    resign(certified, change)
    found = check(certified.path)
    assert "no statement of ours" in found.failures[0] and found.predicate is None


def test_the_terminal_shows_failures_and_limits(certified):
    def shown(found):
        out = io.StringIO()
        Console(file=out, width=200).print(found)
        return out.getvalue()

    good = shown(check(certified.path, certified.weights))
    assert "signature fits" in good and "case-1: forgotten" in good and "honest operator" in good
    certified.weights.write_bytes(b"[bold]others[/bold]")
    bad = shown(check(certified.path, certified.weights))
    assert "FAILS" in bad and "is not the file certified" in bad and "honest operator" in bad


def test_the_certified_tensors_in_another_file_are_the_certified_model(tmp_path):
    """A copy with metadata, as transformers writes it, is another file of the same model."""
    state = {"0.weight": torch.arange(6.0).reshape(2, 3), "0.bias": torch.ones(2)}
    own, copy, other = (tmp_path / f"{name}.safetensors" for name in ("own", "copy", "other"))
    safetensors.torch.save_file(state, own)
    safetensors.torch.save_file(state, copy, {"format": "pt"})
    safetensors.torch.save_file(state | {"0.bias": torch.zeros(2)}, other, {"format": "pt"})
    said = predicate()
    said = said.model_copy(update={"weights": said.weights.model_copy(update={
        "unlearned": digests.of_file(own), "tensors": tensors_digest(own)})})  # fmt: skip
    path = certify(said, own, Workspace(tmp_path / "w"), tmp_path / "certificate.json")
    assert check(path, own).ok and not any("another file" in limit for limit in check(path, own).limits)
    assert check(path, copy).ok and any("with the same tensors" in limit for limit in check(path, copy).limits)
    assert not check(path, other).ok


def test_an_adapter_on_another_base_is_not_the_certified_model(tmp_path):
    state = {"base_model.model.layer.lora_A.weight": torch.ones(2, 3)}
    bases = {}
    for name in ("base", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        safetensors.torch.save_file(
            {"weight": torch.full((3,), len(name) * 1.0)}, tmp_path / name / "model.safetensors"
        )
        files = sorted((tmp_path / name).iterdir())
        bases[name] = digests.of_json([[path.name, digests.of_file(path)] for path in files])
    folder = tmp_path / "adapter"
    folder.mkdir()
    file, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    safetensors.torch.save_file(state, file)
    said = predicate()
    said = said.model_copy(update={"weights": said.weights.model_copy(update={
        "unlearned": digests.of_file(file), "tensors": tensors_digest(file), "base": bases["base"]})})  # fmt: skip
    path = certify(said, file, Workspace(tmp_path / "w"), tmp_path / "certificate.json")
    config.write_text(json.dumps({"base_model_name_or_path": str(tmp_path / "base")}))
    for weights in (folder, file):
        assert check(path, weights).ok and not any("base" in limit for limit in check(path, weights).limits)
    found = check(path, folder, base=tmp_path / "other")
    assert found.failures == [
        f"{tmp_path / 'other'} is not the base certified: its SHA-256 is {bases['other']}, the certificate names "
        + bases["base"]
    ]
    config.write_text(json.dumps({"base_model_name_or_path": str(tmp_path / "other")}))
    assert not check(path, folder).ok and check(path, folder, base=tmp_path / "base").ok
    config.write_text(json.dumps({"base_model_name_or_path": "hub/elsewhere"}))
    unknown = check(path, folder)
    assert unknown.ok and any("No base was given" in limit and bases["base"] in limit for limit in unknown.limits)


def test_a_base_given_for_weights_that_stand_on_none(certified, tmp_path):
    assert "the certificate names no base" in check(certified.path, certified.weights, base=tmp_path).failures[0]
