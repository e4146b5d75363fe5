"""A workspace that version 0.1 made (pool, closed case, open case) still opens, resumes and verifies.

It was made by that version's command on 220 rows of 12 people: ``train``, ``references``, ``forget --subject p0`` to its
end, and ``forget --subject p2 --method datamodel-matching``, stopped once its protocol was declared.
"""

import json
import tarfile
from pathlib import Path

import pytest

PACKED = Path(__file__).parent.parent / "fixtures" / "workspace-0.1.tar.xz"
OPEN, CLOSED = "case-0193aad0f199", "case-24803ad4765f"


@pytest.fixture
def old(tmp_path, in_folder):
    root = tmp_path / "project"
    with tarfile.open(PACKED) as archive:
        archive.extractall(root, filter="data")
    for path in root.rglob("*.json"):
        path.write_text(path.read_text().replace("/project", str(root)))
    for path in root.rglob(".neuralyzer/keys/*"):
        path.chmod(0o600)
    return in_folder(root)


def pools(project):
    return [path.name for path in project.path(".neuralyzer/references").iterdir()]


def test_its_pool_and_model_are_known(old):
    before = pools(old)
    assert old("audit", "--subject", "p4", "--json").json["families"]
    assert pools(old) == before and len(before) == 1, "nothing is trained again"


def test_its_data_sets_are_searched(old):
    found = old("locate", "--subject", "p4", "--json").json
    assert {hit["role"] for hit in found["datasets"]} == {"training", "holdout"} and found["rows"] > 0
    assert "'p4'" in old("locate", "--subject", "P4").complaint


def test_its_closed_case_verifies_and_is_not_done_again(old):
    folder = old.path(f".neuralyzer/cases/{CLOSED}")
    before = (folder / "certificate.json").read_bytes()
    weights = next(folder.glob("attempts/*/weights.safetensors"))
    checked = old("certificate", "verify", str(folder / "certificate.json"), "--weights", str(weights))
    assert checked.code == 0
    again = old("forget", "--subject", "p0", "--method", "retrain", "--json")
    assert again.json["case"] == CLOSED and (folder / "certificate.json").read_bytes() == before


def test_its_open_case_is_gone_on_with(old):
    folder = old.path(f".neuralyzer/cases/{OPEN}")
    kept = {name: (folder / f"{name}.json").read_bytes() for name in ("audit", "plan", "protocol")}
    found = old("forget", "--subject", "p2", "--method", "datamodel-matching", "--json")
    assert found.json["case"] == OPEN and {path.name for path in folder.parent.iterdir()} == {OPEN, CLOSED}
    assert {name: (folder / f"{name}.json").read_bytes() for name in kept} == kept
    weights = found.json["weights_file"]
    assert old("certificate", "verify", found.json["certificate"], "--weights", weights).code == 0
    line = json.loads(old.path(".neuralyzer/lineage.json").read_text())
    if found.code == 0:
        assert set(line["cases"].values()) == {OPEN, CLOSED}
