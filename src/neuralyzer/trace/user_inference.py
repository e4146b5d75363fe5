"""User inference: was a model fine-tuned on a person's texts? Judged by other people's, without references.

The statistic is the mean log-ratio of the fine-tuned model to its base (Kandpal et al. 2023, arXiv 2310.09266, equation
2). Its null are people of whom nothing was learned. Before it, a classifier that sees no model says whether the person's
texts differ from theirs anyway: such a difference alone can look like membership (Das et al. 2024, arXiv 2406.16201).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse, stats

from neuralyzer.data import batches
from neuralyzer.data.rows import Data
from neuralyzer.references.signal_values import Floats

FOLDS = 5  # of the blind classifier's cross-validation; fewer where a person has fewer texts
MOST = 200  # people of whom texts are read; more make no test finer than the error rate asks for


@dataclass(frozen=True)
class Inference:
    """What a person's mean log-ratio says beside that of others.

    Attributes:
        p_value: rank of the person among people of whom nothing was learned, one-sided; exact if they are exchangeable.
        excess: mean log-ratio above theirs, in nats a token.
        low: lower end of the excess's interval at ``1 - alpha``.
        high: upper end.
        expected: mean excess of people who are known to be in the training rows.
        power: share of these whom the same test finds.
    """

    p_value: float
    excess: float
    low: float
    high: float
    expected: float
    power: float


def infer(claimed: float, unseen: Floats, seen: Floats, alpha: float) -> Inference:
    """Compare a person's mean log-ratio with those of others.

    The interval is that of one more draw from a normal distribution (Student's t, ``J - 1`` degrees of freedom), since
    people differ from each other by more than their texts do.

    Args:
        claimed: the person's mean log-ratio.
        unseen: of ``J`` people of whom nothing was learned.
        seen: of people in the training rows.
        alpha: error rate.

    Returns:
        The comparison.
    """
    centre, spread = float(unseen.mean()), float(unseen.std(ddof=1))
    reach = float(stats.t.ppf(1 - alpha / 2, len(unseen) - 1)) * spread * math.sqrt(1 + 1 / len(unseen))
    excess = claimed - centre
    found = [rank_p(float(own), unseen) <= alpha for own in seen]
    return Inference(
        rank_p(claimed, unseen), excess, excess - reach, excess + reach, float(seen.mean()) - centre,
        float(np.mean(found)),
    )  # fmt: skip


def rank_p(value: float, others: Floats) -> float:
    """Return the probability that one of ``J + 1`` exchangeable values ranks as high as ``value``."""
    return float((1 + (others >= value).sum()) / (1 + len(others)))


def fewest_people(alpha: float) -> int:
    """Return the fewest people among whom a rank can be significant."""
    return math.ceil(1 / alpha - 1e-9) - 1


def people(data: Data, each: int, seed: int) -> list[np.ndarray]:
    """Return ``each`` rows of every person who has so many, of at most ``MOST`` people, drawn by the seed.

    Where nobody is named, rows are taken to be independent, and dealt out to people who are made up.

    Args:
        data: the rows.
        each: number of rows.
        seed: of the draw.

    Returns:
        Positions ``(each,)`` by person.
    """
    draw = np.random.default_rng(seed)
    if unnamed(data):
        order = draw.permutation(len(data))
        groups = [order[start : start + each] for start in range(0, len(data) - each + 1, each)]
    else:
        own = (np.flatnonzero(data.subjects == name) for name in np.unique(data.subjects))
        groups = [draw.choice(rows, each, replace=False) for rows in own if len(rows) >= each]
    chosen = np.sort(draw.permutation(len(groups))[:MOST])
    return [np.sort(groups[place]) for place in chosen]


def unnamed(data: Data) -> bool:
    """Return whether no row has a named subject."""
    return bool(np.strings.startswith(data.subjects, "row:").all())


def texts_each(data: Data, claimed: int, alpha: float) -> int:
    """Return how many texts of each person are compared: as many as claimed, or as enough people have; 0 if none do."""
    fewest = fewest_people(alpha)
    if unnamed(data):
        return min(claimed, len(data) // fewest)
    counts = np.sort(np.unique_counts(data.subjects).counts)[::-1]
    return min(claimed, int(counts[fewest - 1])) if len(counts) >= fewest else 0


def token_counts(parts: Sequence[Data]) -> sparse.csr_array:
    """Return how often each row of several data has each token, prompts included, ``(N, V)``."""
    x = batches.join([data.x for data in parts])
    assert isinstance(x, dict)
    rows, places = np.nonzero(x[batches.MASK].numpy())
    _, columns = np.unique(x[batches.IDS].numpy()[rows, places], return_inverse=True)
    return sparse.csr_array((np.ones(len(rows)), (rows, columns)))


def blind_p(counts: sparse.csr_array, claimed: np.ndarray, others: Sequence[np.ndarray], seed: int) -> float:
    """Test whether a person's texts differ from others' by their words alone.

    A naive Bayes classifier tells one person's texts from all others', by cross-validation; its score is by how much
    the log-odds of the person's texts exceed those of the others. The same is done for every other person: names and
    topics of their own set everyone apart, and only who is set apart more than the rest is different. So the labels
    are permuted among people.

    Args:
        counts: of tokens, ``(N, V)``.
        claimed: positions of the person's texts, ``(k,)``.
        others: of each other person's.
        seed: of the folds.

    Returns:
        The p-value.
    """
    groups = [claimed, *others]
    used = np.concatenate(groups)
    whose = np.repeat(np.arange(len(groups)), [len(own) for own in groups])
    scores = np.array([_apart(counts[used], whose == person, seed) for person in range(len(groups))])
    return rank_p(float(scores[0]), scores[1:])


def _apart(counts: sparse.csr_array, own: np.ndarray, seed: int) -> float:
    """Return by how much one person's texts have the larger log-odds, each read by a classifier that it did not train."""
    draw = np.random.default_rng(seed)
    folds, fold = min(FOLDS, int(own.sum())), np.empty(len(own), dtype=int)
    for person in (own, ~own):
        fold[person] = draw.permutation(int(person.sum())) % folds
    odds = np.empty(len(own))
    for number in range(folds):
        test = fold == number
        odds[test] = counts[test] @ word_odds(counts[~test], own[~test])
    return float(odds[own].mean() - odds[~own].mean())


def word_odds(counts: sparse.csr_array, own: np.ndarray) -> Floats:
    """Return the log-odds of each word by multinomial naive Bayes with add-one smoothing, ``(V,)``."""
    logs = [np.log((seen + 1) / (seen + 1).sum()) for seen in (counts[own].sum(0), counts[~own].sum(0))]
    return np.asarray(logs[0] - logs[1])
