"""Near copies: pairs against all pairs of sets, what is compared, and what a request takes in."""

import sys

import numpy as np
import pytest

import neuralyzer as nz
from neuralyzer.data import batches, near_copies
from neuralyzer.data.near_copies import FEW, SIMILAR, Pair
from neuralyzer.errors import ForgetSetError, NeuralyzerWarning, UsageError

LONG = list(range(100, 130))


def changed(tokens, *places):
    return [9000 + place if place in places else token for place, token in enumerate(tokens)]


def windows(tokens):
    """The shingles, as a person would write them down."""
    return {tuple(tokens[start : start + 3]) for start in range(max(1, len(tokens) - 2))}


def jaccard(one, other):
    return len(windows(one) & windows(other)) / len(windows(one) | windows(other))


def rows_of(sequences, subjects=None, targets=None):
    """Rows of tokens; with targets, only that many of the last tokens of each are learned."""
    data = nz.Data.from_tokens(sequences, np.zeros(len(sequences), int), subjects)
    if targets is None:
        return data
    marks = [[0] * (len(own) - count) + [1] * count for own, count in zip(sequences, targets, strict=True)]
    x = data.x | {batches.TARGETS: batches.tokens(marks)[batches.IDS]}
    return nz.Data.from_arrays(x, np.zeros(len(sequences), int), subjects)


@pytest.mark.parametrize("seed", range(4))
def test_pairs_are_those_of_all_pairs(seed):
    """Texts of phrases that recur, some of them edited; a pair just at the threshold may be missed, one in 250."""
    draw = np.random.default_rng(seed)
    phrases = draw.integers(1, 5000, (60, 6))
    texts = [phrases[draw.integers(0, 60, draw.integers(3, 8))].ravel().tolist() for _ in range(150)]
    for text in list(texts[:60]):
        texts.append(changed(text, *draw.choice(len(text), draw.integers(1, 5), replace=False)))
    one, other = texts[:120], texts[100:]
    wanted = {
        (i, j): alike for i, a in enumerate(one) for j, b in enumerate(other) if (alike := jaccard(a, b)) >= SIMILAR
    }
    found = {(pair.one, pair.other): pair.similarity for pair in near_copies.pairs(rows_of(one), rows_of(other))}
    assert len(wanted) > 20 and set(found) <= set(wanted) and len(set(wanted) - set(found)) <= 1
    assert all(found[place] == pytest.approx(wanted[place], abs=1e-12) for place in found)


def test_the_same_rows_give_the_same_pairs_in_any_batches(monkeypatch):
    draw = np.random.default_rng(0)
    texts = [draw.integers(1, 9, draw.integers(1, 20)).tolist() for _ in range(80)]
    data = rows_of(texts)
    whole = near_copies.pairs(data, data)
    monkeypatch.setattr(nz.Data.chunks, "__defaults__", (7, *nz.Data.chunks.__defaults__[1:]))
    assert near_copies.pairs(data, rows_of(texts)) == whole and {(k, k) for k in range(80)} <= {
        (pair.one, pair.other) for pair in whole
    }


def test_one_changed_token_in_sixteen_is_near_and_one_in_five_is_not():
    data = rows_of([LONG, changed(LONG, 7, 22), changed(LONG, 2, 7, 12, 17, 22, 27)])
    assert near_copies.others(data, np.array([0])) == [Pair(0, 1, jaccard(LONG, changed(LONG, 7, 22)))]


def test_a_prompt_that_all_share_makes_no_copies():
    """Forty tokens of prompt, twelve of answer: the rows are alike by more than half, the answers are not."""
    prompt, one, other = list(range(40)), list(range(500, 512)), list(range(600, 612))
    assert jaccard(prompt + one, prompt + other) > SIMILAR
    targets = [12, 12, 12]
    data = rows_of([prompt + one, prompt + other, changed(prompt, *range(0, 40, 2)) + one], targets=targets)
    assert [(pair.one, pair.other) for pair in near_copies.others(data, np.array([0]))] == [(0, 2)]


def test_a_short_answer_counts_with_its_prompt():
    yes, asked, else_ = [7, 8], list(range(100, 120)), list(range(200, 220))
    assert len(yes) < FEW
    data = rows_of([asked + yes, else_ + yes, changed(asked, 0) + yes], targets=[2, 2, 2])
    assert [(pair.one, pair.other) for pair in near_copies.others(data, np.array([0]))] == [(0, 2)]


def test_rows_shorter_than_a_window_are_whole():
    data = rows_of([[1], [1], [1, 2], [2, 1]])
    assert [(p.one, p.other, p.similarity) for p in near_copies.pairs(data, data) if p.one < p.other] == [(0, 1, 1.0)]


def test_a_request_takes_near_copies_in_only_if_asked():
    near, copy = changed(LONG, 3), list(LONG)
    data = rows_of([LONG, near, copy, changed(LONG, *range(0, 30, 3)), near[::-1]], ["ann", "bob", "cy", "dee", "ann"])
    asked = nz.ErasureRequest(subjects=["ann"])
    wider = nz.ErasureRequest(subjects=["ann"], also_near=True)
    assert asked.positions(data).tolist() == [0, 4] and wider.positions(data).tolist() == [0, 1, 2, 4]
    assert [(pair.one, pair.other) for pair in asked.nearly_copied(data)] == [(0, 1), (0, 2)]
    assert "also_near" not in asked.to_dict() and nz.ErasureRequest.from_dict(wider.to_dict()) == wider


def test_what_near_copies_cannot_be_added_to():
    numbers = nz.Data.from_arrays(np.eye(3, dtype=np.float32), [0, 1, 0], ["a", "b", "c"])
    with pytest.raises(UsageError, match="where rows are tokens"):
        nz.ErasureRequest(subjects=["a"], also_near=True).positions(numbers)
    alike = rows_of([LONG, changed(LONG, 3)], ["ann", "bob"])
    with pytest.raises(ForgetSetError, match="with near copies the forget set is all the data"):
        nz.ErasureRequest(subjects=["ann"], also_near=True).positions(alike)


def test_without_the_extra_it_is_said_and_not_done(monkeypatch):
    monkeypatch.delitem(sys.modules, "datasketch", raising=False)
    monkeypatch.setattr(near_copies, "find_spec", lambda name: None)
    with pytest.warns(NeuralyzerWarning, match=r"near copies are not searched for: they need pip install"):
        assert not near_copies.searchable(rows_of([LONG]))


def test_holdout_rows_that_nearly_copy_a_training_row_are_no_holdout():
    draw = np.random.default_rng(0)
    texts = draw.integers(1, 5000, (260, 20)).tolist()
    data = rows_of(texts[:40], [f"s{k % 8}" for k in range(40)])
    copied = [changed(texts[3], 5), list(texts[4]), changed(texts[5], *range(0, 20, 4))]
    holdout = rows_of([*texts[40:], *copied])
    from neuralyzer.models.trained import checked_holdout

    kept, dropped = checked_holdout(data, holdout)
    assert dropped == 2 and kept.ids.tolist() == [str(k) for k in (*range(220), 222)]
