"""What lies in a workspace: nothing that others can read, and no name once a case has closed."""

import os
import stat

import pytest

ALLOWED = {"train.parquet", "holdout.parquet", "oracle.py", "neuralyzer.toml"}


def test_everything_in_the_workspace_is_the_owners_alone(answered):
    root = answered.path(".neuralyzer")
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]}
    wide = {str(path): oct(mode) for path, mode in modes.items() if mode & 0o077}
    assert not wide
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


@pytest.fixture
def named(project):
    """A project whose subject has a name that stands nowhere else."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name in ("train", "holdout"):
        table = pq.read_table(project.path(f"{name}.parquet"))
        own = ["Zebulon-Quill" if name_ == "c0" else name_ for name_ in table["customer"].to_pylist()]
        pq.write_table(table.set_column(table.column_names.index("customer"), "customer", pa.array(own)),
                       project.path(f"{name}.parquet"))  # fmt: skip
    project.path(".neuralyzer/trained.json").unlink()
    return project


def test_a_closed_case_has_no_name_in_it(named):
    case = named("forget", "--subject", "Zebulon-Quill", "--method", "retrain", "--exact-references", "0", "--json")
    folder = named.path(".neuralyzer/cases")
    holding = [path for path in folder.rglob("*") if path.is_file() and b"Zebulon" in path.read_bytes()]
    if case.code == 0:
        assert holding == []
    else:  # it is not closed: it must be able to go on
        assert {path.name for path in holding} <= {"request.json", "located.json"}


def test_a_wider_workspace_is_closed_to_others(project):
    root = project.path(".neuralyzer")
    root.chmod(0o755)
    assert project("locate", "--subject", "c0").code == 0
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


@pytest.mark.parametrize("key", ["signing.pem", "subjects.key"])
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_key_that_others_can_read_is_refused(project, key, mode):
    from neuralyzer.errors import CertificateError
    from neuralyzer.workspace import commitments
    from neuralyzer.workspace.paths import Workspace
    from neuralyzer.workspace.signing_keys import signing_key

    place = Workspace(project.path(".neuralyzer"))
    make = {"signing.pem": signing_key, "subjects.key": commitments.key}[key]
    make(place)
    os.chmod(place.keys / key, mode)
    with pytest.raises(CertificateError, match=r"others than its owner may read the key .*chmod 600"):
        make(place)
