"""Ten requests in a row on one model lineage."""

import dataclasses

import numpy as np
import pytest

import neuralyzer as nz
from neuralyzer.cases.options import CaseOptions
from neuralyzer.certificates.check import check
from neuralyzer.trace.verdict import Verdict
from tests.cases.test_forget import loose
from tests.rates import RATES


@pytest.mark.slow
def test_ten_requests_in_a_row(world):
    oracle, place, words = world.oracle, loose(world), []
    rows = oracle.data.ids[np.flatnonzero(oracle.data.subjects == "c9")[:5]].tolist()
    asked = [nz.ErasureRequest(rows=rows, budget=2.0)]
    asked += [nz.ErasureRequest(subjects=[f"c{number}"], budget=2.0) for number in range(9)]
    for request in asked:
        before, forgotten = len(oracle.data), len(request.positions(oracle.data))
        case = nz.forget(oracle, request, world.references(oracle), place, options=CaseOptions(rates=RATES))
        words.append(case.verdict)
        if not case.succeeded:  # too little to measure by: what then remains is an exact option
            exact = dataclasses.replace(request, guarantee="exact", budget=None)
            case = nz.forget(oracle, exact, world.references(oracle), place, options=CaseOptions(rates=RATES))
        assert case.succeeded and check(case.certificate, case.weights).ok
        oracle = case.oracle
        assert len(oracle.data) == before - forgotten
        assert oracle.lineage == world.oracle.digest
    assert set(oracle.data.subjects) == {"c9"}
    assert Verdict.NOT_FORGOTTEN not in words  # what is seen through escalates to an exact option
    assert Verdict.FORGOTTEN in words
