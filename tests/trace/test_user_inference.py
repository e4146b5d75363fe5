"""User inference: ranks, intervals and the blind test, against simulation and numbers worked by hand."""

import numpy as np
import pytest
from scipy import sparse, stats
from sklearn.naive_bayes import MultinomialNB

import neuralyzer as nz
from neuralyzer.data import batches
from neuralyzer.trace import user_inference as inference


def test_a_rank_by_hand():
    others = np.arange(19.0)
    assert inference.rank_p(18.5, others) == 1 / 20 and inference.rank_p(18.0, others) == 2 / 20
    assert inference.rank_p(-1.0, others) == 1.0
    assert inference.fewest_people(0.05) == 19 and inference.fewest_people(0.01) == 99


@pytest.mark.parametrize("people", [19, 40])
def test_nobody_is_accused_more_often_than_the_error_rate(people):
    """People of a skewed distribution, one of whom claims; each draw anew. 4.0 standard errors are allowed."""
    draw, splits = np.random.default_rng(people), 4000
    values = draw.lognormal(size=(splits, people + 1))
    alarms = np.mean([inference.rank_p(own[0], own[1:]) <= 0.05 for own in values])
    assert alarms <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / splits) and alarms > 0.02


def test_the_interval_holds_the_true_excess():
    draw, splits = np.random.default_rng(0), 2000
    held = 0
    for _ in range(splits):
        unseen = draw.normal(1.0, 0.3, 25)
        found = inference.infer(float(draw.normal(1.0 + 0.5, 0.3)), unseen, unseen + 0.5, 0.05)
        held += found.low <= 0.5 <= found.high
    assert abs(held / splits - 0.95) < 4 * np.sqrt(0.05 * 0.95 / splits)


def test_a_comparison_by_hand():
    unseen, seen = np.array([0.0, 1.0, 2.0, 3.0] * 5), np.array([3.5, 2.5, 4.5, 0.0])
    found = inference.infer(4.0, unseen, seen, 0.05)
    assert found.p_value == 1 / 21 and found.excess == 2.5 and found.expected == pytest.approx(2.625 - 1.5)
    assert found.power == 0.5  # 2.5 has five above it, 0 twenty
    reach = stats.t.ppf(0.975, 19) * np.std(unseen, ddof=1) * np.sqrt(1 + 1 / 20)
    assert (found.low, found.high) == pytest.approx((2.5 - reach, 2.5 + reach))


def rows(counts, subjects=None):
    texts = [np.repeat(np.arange(len(own)), own).tolist() for own in counts]
    return nz.Data.from_tokens(texts, np.zeros(len(texts), int), subjects)


def test_tokens_are_counted_as_they_stand():
    draw = np.random.default_rng(0)
    counts = draw.integers(0, 3, (12, 6)) + np.eye(6, dtype=int).repeat(2, 0)
    counts[0, 5] += 4
    read = inference.token_counts([rows(counts[:5]), rows(counts[5:])])
    np.testing.assert_array_equal(read.toarray(), counts)


def test_people_with_too_few_texts_are_left_out():
    data = rows(np.ones((10, 2), int), ["a"] * 4 + ["b"] * 3 + ["c"] * 2 + ["d"])
    groups = inference.people(data, 3, 0)
    assert [sorted(set(data.subjects[own])) for own in groups] == [["a"], ["b"]]
    assert all(len(set(own.tolist())) == 3 for own in groups)
    assert [own.tolist() for own in groups] == [own.tolist() for own in inference.people(data, 3, 0)]
    nobody = inference.people(rows(np.ones((10, 2), int)), 3, 0)
    assert len(nobody) == 3 and len(np.unique(np.concatenate(nobody))) == 9


def test_how_many_texts_are_compared():
    data = rows(np.ones((100, 2), int), [f"s{k // 5}" for k in range(100)])
    assert [inference.texts_each(data, claimed, 0.05) for claimed in (3, 5, 9)] == [3, 5, 5]
    assert inference.texts_each(data.select(np.arange(90)), 5, 0.05) == 0  # 18 people
    assert inference.texts_each(rows(np.ones((100, 2), int)), 9, 0.05) == 5  # nobody named: 19 times 5 rows


def drawn(draw, people, each, tilt=0.0):
    """Texts of people who each have favourite words; a tilt moves all of a person's texts to other words."""
    words = 60
    common = draw.dirichlet(np.ones(words))
    shifted = np.roll(common, words // 2)
    taste = [draw.dirichlet(100 * ((1 - t) * common + t * shifted) + 0.01) for t in [tilt, *[0.0] * (people - 1)]]
    return sparse.csr_array(np.concatenate([draw.multinomial(30, own, each) for own in taste]).astype(float))


def blind(counts, people, each):
    groups = np.split(np.arange(people * each), people)
    return inference.blind_p(counts, groups[0], groups[1:], seed=0)


def test_own_words_are_no_difference_and_another_kind_of_text_is():
    """Everyone is set apart by own words; the error rate is kept, and texts of another kind are found."""
    draw = np.random.default_rng(1)
    same = [blind(drawn(draw, 24, 4), 24, 4) <= 0.05 for _ in range(40)]
    assert np.sum(same) <= stats.binom.ppf(0.999, 40, 0.05)
    assert sum(blind(drawn(draw, 24, 4, 1.0), 24, 4) <= 0.05 for _ in range(10)) >= 9


def test_the_classifier_is_naive_bayes():
    draw = np.random.default_rng(0)
    counts, own = drawn(draw, 5, 4), np.arange(20) < 4
    known = MultinomialNB(fit_prior=False).fit(counts, own)
    wanted = known.feature_log_prob_[1] - known.feature_log_prob_[0]
    np.testing.assert_allclose(inference.word_odds(counts, own), wanted, rtol=1e-10)


def test_padding_is_no_word():
    data = rows(np.array([[1, 0, 0], [0, 5, 2]]))
    padded = nz.Data.from_arrays(
        {name: values for name, values in data.x.items()} | {batches.IDS: data.x[batches.IDS].where(
            data.x[batches.MASK].bool(), data.x[batches.IDS].new_tensor(2))}, [0, 0],
    )  # fmt: skip
    np.testing.assert_array_equal(inference.token_counts([padded]).toarray(), [[1, 0, 0], [0, 5, 2]])
