"""A sharded training from the request to the certificate: its checkpoints that saw the rows go with the case."""

import neuralyzer as nz
from neuralyzer.certificates.check import check
from neuralyzer.models.shard_record import Record
from tests.methods.exact.test_sisa import BASE, rows


def test_checkpoints_that_saw_the_rows_go_when_the_case_closes(tmp_path):
    folder, data = tmp_path / "shards", rows()
    oracle = nz.TrainedModel.fit(nz.Sharded(BASE, folder, 3, 3).recipe, data, device="cpu")
    (before,) = Record.all(folder)
    place = nz.Workspace(tmp_path / "work")
    case = nz.forget(oracle, nz.ErasureRequest(subjects=["s0"]), None, place, method="sisa")
    found = check(case.certificate, case.weights)
    assert case.succeeded and found.ok
    (named,) = found.predicate["checkpoints"]
    assert named["state"] == "erased" and "sharded" in named["name"]
    gone = set(data.ids[data.subjects == "s0"].tolist())
    (after,) = Record.all(folder)
    assert not before.path.exists()
    assert gone.isdisjoint(own for shard in after.slices for part in shard for own in part)
