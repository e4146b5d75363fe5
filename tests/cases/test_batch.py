"""Several requests answered by one unlearning run: each is judged alone, and gets its own certificate."""

import base64
import json
from dataclasses import replace

import numpy as np
import pytest

import neuralyzer as nz
from neuralyzer.cases.batch import Batch, fits, united
from neuralyzer.cases.options import CaseOptions
from neuralyzer.cases.stages import Stages
from neuralyzer.certificates.check import check
from neuralyzer.data.request import Guarantee
from neuralyzer.errors import NoVerdictError, UsageError
from neuralyzer.trace.verdict import Verdict
from neuralyzer.workspace import digests
from tests.cases.test_forget import loose
from tests.rates import RATES

REQUESTS = [nz.ErasureRequest(subjects=[name], due=due) for name, due in (("c0", "2030-02-01"), ("c1", "2030-01-01"))]


def batch(world, requests=REQUESTS, method="datamodel-matching", **given):
    references = given.pop("references", lambda: world.references(world.oracle))
    options = CaseOptions(rates=RATES, method=method)
    return Batch(world.oracle, requests, references, loose(world), options, **given)


def test_each_request_gets_its_own_verdict_on_the_same_weights(world):
    made = batch(world)
    cases = made.close()
    assert len({case.id for case in cases}) == len(cases) == len({case.certificate for case in cases})
    assert len({digests.of_file(case.weights) for case in cases}) == 1
    for case, request in zip(cases, REQUESTS, strict=True):
        assert case.verdict is Verdict.FORGOTTEN and check(case.certificate, case.weights).ok
        assert case.result["request"]["rows"] == 40 == len(request.positions(world.oracle.data))
        assert case.result["unlearning"]["method"] == "datamodel-matching"
        payload = base64.b64decode(json.loads(case.certificate.read_text())["payload"]).decode()
        assert '"rows"' in payload and '"c0"' not in payload and '"c1"' not in payload
    steps = json.loads((made.together.folder.root / "attempts/0-datamodel-matching/unlearned.json").read_text())
    assert cases[0].result["unlearning"]["seconds"] == pytest.approx(steps["seconds"], rel=0.5)
    again = batch(world, references=lambda: pytest.fail("a finished case opens no references"))
    assert [case.to_dict() for case in again.close()] == [case.to_dict() for case in cases]
    left = cases[0].oracle
    bound = [check(case.certificate, case.weights).predicate["training"] for case in cases]
    assert bound == [bound[0]] * 2 and bound[0]["retained"] == left.data.digest, "the rows that all of them left"
    assert len(left.data) == len(world.oracle.data) - 80 and world.references(left).closed(
        cases[0].result["references"]["folder"], cases[1].id
    )
    for folder in (world.workspace.cases).iterdir():
        assert '"c1"' not in (folder / "request.json").read_text(), "names stay in no closed case"


def test_exact_retraining_serves_all_of_a_batch(world):
    cases = batch(world, method="retrain").close()
    assert [case.verification.basis for case in cases] == ["exact", "exact"]
    assert all(case.verdict is Verdict.FORGOTTEN for case in cases)


def test_a_single_request_is_a_case_as_any_other(world):
    made = batch(world, REQUESTS[:1])
    assert made.given is None and made.cases == [made.together]
    assert made.close()[0].to_dict() == nz.forget(
        world.oracle, REQUESTS[0], None, loose(world), options=CaseOptions(rates=RATES, method="datamodel-matching")
    ).to_dict()  # fmt: skip


def test_a_batch_that_was_stopped_unlearns_once(world, monkeypatch):
    first = batch(world)
    given = first.given
    before = digests.of_file(given.weights)
    monkeypatch.setattr("neuralyzer.cases.attempt.Repair.mend", lambda *_: pytest.fail("unlearned again"))
    second = batch(world)
    assert second.given.digest == before and second.given.record == given.record
    assert [stages.case for stages in second.cases] == [stages.case for stages in first.cases]


def test_what_requests_want_together():
    rows = nz.ErasureRequest(rows=["r1"], where="age < 18", guarantee="strong", due="2030-03-01", budget=9.0)
    older = nz.ErasureRequest(subjects=["b", "a"], where="age > 90", budget=4.0, reason="bias")
    both = united([rows, older])
    assert both.subjects == ("a", "b") and both.rows == ("r1",) and both.where == "(age < 18) OR (age > 90)"
    assert both.guarantee is Guarantee.STRONG and both.due == "2030-03-01" and both.budget == 4.0
    assert both.reason == "several" and united([rows]) is rows
    assert united([older, rows]).to_dict() != rows.to_dict()
    assert not fits(rows, replace(older, also_near=True)) and fits(rows, older)
    with pytest.raises(UsageError, match="cannot share a run"):
        united([rows, replace(older, also_near=True)])


def test_the_rows_of_a_batch_are_those_of_its_requests(world):
    data = world.oracle.data
    several = [*REQUESTS, nz.ErasureRequest(rows=data.ids[:2].tolist()), nz.ErasureRequest(classes=["3"])]
    alone = [request.positions(data) for request in several]
    assert np.array_equal(united(several).positions(data), np.unique(np.concatenate(alone)))


def test_one_who_comes_to_no_verdict_stops_nobody_else(world, monkeypatch):
    """Fine-tuning leaves too much of c4, which the tuning split sees already."""
    names = ("c2", "c3", "c4", "c5", "c6")
    requests = [nz.ErasureRequest(subjects=[name]) for name in names]
    made = batch(world, requests, method="finetune")
    judged = made.close()
    rejected = made.cases[2]
    assert [case.id for case in judged] == [stages.case for stages in made.cases if stages is not rejected]
    assert all(check(case.certificate, case.weights).ok for case in judged)
    assert list(made.rejected) == [rejected.case] and "no look was spent" in made.rejected[rejected.case]
    assert '"c4"' not in rejected.folder.path("request.json").read_text(), "it has no case of its own that would close"

    def no_verdict(stages):
        assert stages.outcomes
        raise NoVerdictError("no option came to a verdict")

    monkeypatch.setattr(Stages, "finish", no_verdict)
    with pytest.raises(NoVerdictError, match="no option came to a verdict"):
        batch(world, requests[:2], method="finetune").close()
