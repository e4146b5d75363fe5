"""Certificates of one case are compared value by value."""

from neuralyzer.cases.comparison import Conclusion, Difference, Reproduction, between, differences, flat
from tests.certificates.example import predicate


def test_a_nested_document_is_flat_and_families_are_named_by_their_signals():
    document = {
        "verdict": "forgotten",
        "families": [{"signal": "margin", "after": {"trace": 0.5}}],
        "counting": ["margin"],
    }
    assert dict(flat(document, "v")) == {
        "v.verdict": "forgotten", "v.families.margin.signal": "margin", "v.families.margin.after.trace": 0.5,
        "v.counting.margin": "margin",
    }  # fmt: skip


def test_what_is_missing_or_has_another_last_bit_differs():
    assert between({"a": 1, "b": 0.1 + 0.2}, {"a": 1, "b": 0.3, "c": None}) == [Difference("b", 0.1 + 0.2, 0.3)]
    assert between({"a": 1}, {}) == [Difference("a", 1, None)]


def test_an_older_certificate_does_not_differ_by_what_it_had_not():
    now = predicate()
    assert differences(predicate(training=None), now) == [] == differences(now, now)
    other = now.training.model_copy(update={"retained": 64 * "1"})
    (found,) = differences(now, predicate(training=other))
    assert found.what == "training.retained" and found.found == 64 * "1"


def test_an_outcome_is_told_in_lines_and_in_plain_values():
    found = Reproduction(
        "case-1", Conclusion.DIFFERS, False, "inconclusive", [Difference("a", 1, 2)], ["why"], ["torch"]
    )
    assert str(found).split("\n") == [
        "case-1: differs",
        "weights      not the certified ones",
        "verdict      inconclusive",
        "differs      a: 2, certified is 1",
        "why not      why",
        "environment  torch",
    ]
    assert found.to_dict()["differences"] == [{"what": "a", "certified": 1, "found": 2}]
