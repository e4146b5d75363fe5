"""Erasure requests: what they choose, and what is refused."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from neuralyzer.data.request import ErasureRequest, Guarantee
from neuralyzer.data.rows import Data
from neuralyzer.errors import ForgetSetError, UnknownSubjectError, UsageError

DATA = Data.from_table(
    pa.table({
        "age": [30, 17, 45, 12, 60],
        "plan": ["gold", "basic", "gold", "trial", "basic"],
        "who": ["ann", "bob", "ann", "cy", "dee"],
        "key": ["r1", "r2", "r3", "r4", "r5"],
    }),
    target="plan",
    subject="who",
    id="key",
)  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "positions"),
    [
        (ErasureRequest(subjects=["ann"]), [0, 2]),
        (ErasureRequest(rows=["r4", "r1"]), [0, 3]),
        (ErasureRequest(classes=["basic"]), [1, 4]),
        (ErasureRequest(where="age < 18"), [1, 3]),
        (ErasureRequest(subjects=["ann"], rows=["r3"], classes=["trial"], where="age > 50"), [0, 2, 3, 4]),
    ],
)
def test_a_request_chooses_the_union_of_what_it_names(request_, positions):
    assert request_.positions(DATA).tolist() == positions


def test_number_classes_are_named_by_their_number():
    data = Data.from_arrays(np.zeros((3, 1)), [0, 7, 0])
    assert ErasureRequest(classes=[7]).positions(data).tolist() == [1]


def test_a_subject_may_be_named_by_a_number():
    data = Data.from_arrays(np.zeros((3, 1)), [0, 1, 0], subjects=[101, 102, 101])
    assert ErasureRequest(subjects=[101]).positions(data).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (ErasureRequest(subjects=["ann", "AIFinn"]), "subject 'AIFinn'"),
        (ErasureRequest(rows=["r9"]), "row 'r9'"),
        (ErasureRequest(classes=["silver"]), "class 'silver'"),
        (ErasureRequest(subjects=[f"x{at}" for at in range(5)]), "'x0', 'x1', 'x2' and 2 more"),
        (ErasureRequest(subjects=["ANN"]), "subject 'ANN'"),
    ],
)
def test_names_that_the_data_does_not_hold(request_, message):
    with pytest.raises(UnknownSubjectError, match=message):
        request_.positions(DATA)


def test_a_forget_set_that_is_empty():
    with pytest.raises(ForgetSetError, match="empty"):
        ErasureRequest(where="age > 99").positions(DATA)


@pytest.mark.parametrize(
    "request_", [ErasureRequest(where="age > 0"), ErasureRequest(subjects=["ann", "bob"], rows=["r4", "r5"])]
)
def test_a_forget_set_that_is_all_the_data(request_):
    with pytest.raises(ForgetSetError, match="all the data"):
        request_.positions(DATA)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "names none"),
        ({"subjects": "ann"}, r"takes a list, such as \['ann'\]"),
        ({"subjects": ["ann"], "guarantee": "total"}, "'total' is none of exact, clean, certified, strong, weak"),
        ({"subjects": ["ann"], "budget": 0}, "above 0"),
        ({"subjects": ["ann"], "due": "soon"}, "'soon' is no date"),
    ],
)
def test_requests_that_make_no_sense(given, message):
    with pytest.raises(UsageError, match=message):
        ErasureRequest(**given)


def test_a_request_survives_being_written_down():
    request = ErasureRequest(subjects=["ann"], rows=["r2"], where="age < 18", guarantee="exact", due="2026-12-31")
    values = request.to_dict()
    assert values["guarantee"] == "exact" and values["subjects"] == ["ann"]
    assert ErasureRequest.from_dict(values) == request
    assert dataclasses.asdict(ErasureRequest.from_dict(values)) == dataclasses.asdict(request)


def test_guarantees_are_ordered_from_exact_to_weak():
    assert Guarantee.EXACT.satisfies(Guarantee.CERTIFIED) and Guarantee.WEAK.satisfies(Guarantee.WEAK)
    assert not Guarantee.WEAK.satisfies(Guarantee.STRONG)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"received": "2026-02-30"}, "received '2026-02-30' is no date"),
        ({"received": "yesterday"}, "received 'yesterday' is no date"),
        ({"received": "9999-01-01"}, "received 9999-01-01 has not come yet"),
        ({"received": "2026-02-02", "due": "2026-02-01"}, "due 2026-02-01 lies before received 2026-02-02"),
    ],
)
def test_dates_that_cannot_be(given, said):
    with pytest.raises(UsageError, match=said):
        ErasureRequest(subjects=["a"], **given)


def test_the_day_a_request_came_in_is_no_part_of_what_is_asked():
    first, second = ErasureRequest(subjects=["a"], received="2026-02-02"), ErasureRequest(subjects=["a"])
    assert first.to_dict() == second.to_dict() and "received" not in first.to_dict()


def test_what_is_wanted_is_the_same_whatever_is_said_of_it():
    first = ErasureRequest(subjects=["a", "b", "a"], due="2099-01-31", reason="bias", budget=2.0, decided_by="x")
    assert first.wanted == ErasureRequest(subjects=["b", "a"]).wanted
    for other in ({"guarantee": "strong"}, {"rows": ["r"]}, {"where": "age < 18"}, {"also_near": True}):
        assert first.wanted != ErasureRequest(subjects=["b", "a"], **other).wanted
