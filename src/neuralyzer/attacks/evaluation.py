"""The evaluation of attacks: on all members of a split, and on one model and one request's rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from neuralyzer.attacks.roc import Roc, Scores, joined, roc
from neuralyzer.attacks.shadows import SIGNAL, Shadows
from neuralyzer.references.signal_values import Flags, Floats, Indices, Part, SplitValues

ROW, SUBJECT = "row", "subject"
LARGEST = 100_000  # (member, row) pairs that are scored; if there are more, subjects or rows are drawn
DIGITS = 9  # to which means are rounded, so that equal ones do not differ in their last bit
SEED = 0  # of that draw and of the bootstrap, so that the same values give the same intervals


@dataclass(frozen=True)
class AttackResult:
    """The result of one attack.

    Attributes:
        attack: ``lira-online``, ``lira-offline``, ``rmia-online`` or ``rmia-offline``.
        unit: what is classified: a ``row``, or a ``subject`` by the mean score of its rows.
        roc: the ROC curve and its figures.
        score: the requested subjects' mean score; None for rows, and for attacks on all members.
        percentile: share of the members that never saw a subject whose score on it is below the model's, ties counted
            half, averaged over the requested subjects; None as above.
    """

    attack: str
    unit: str
    roc: Roc
    score: float | None = None
    percentile: float | None = None


def readable(split: SplitValues) -> bool:
    """Return whether the split has the signal values that the attacks are computed from."""
    return SIGNAL in split.signals and split.signals[SIGNAL].units is None


@lru_cache(maxsize=4)
def on_members(split: SplitValues, classes: bool) -> tuple[AttackResult, ...]:
    """Attack every member of a split, which shows what an attacker achieves on models of this kind.

    Each member in turn is the target and is left out of its own statistics. Rows that it held are the positives, rows
    that it lacked the negatives. If a split has more pairs of member and row than ``LARGEST``, whole subjects are
    drawn.

    Args:
        split: the references.
        classes: whether the models are classifiers.

    Returns:
        Each attack by row and by subject; empty where no row can be attacked.
    """
    subjects = _drawn_subjects(split)
    owner = np.full(split.signals[SIGNAL].rows.shape[1], -1)
    for subject in reversed(subjects):  # a row that belongs to a group as well counts with its owner
        owner[split.positions[subject]] = subject
    shadows = Shadows.of(split, np.flatnonzero(owner >= 0), classes)
    if not len(shadows.rows):
        return ()
    by_subject = _Subjects(split, shadows, subjects)
    owners = np.broadcast_to(owner[shadows.rows], shadows.held.shape)
    results = []
    for attack, scores in shadows.of_members().items():
        results.append(AttackResult(attack, ROW, _roc(*_by_membership(scores, shadows.held, owners))))
        results.append(AttackResult(attack, SUBJECT, _roc(*by_subject.split(scores))))
    return tuple(results)


def on_request(
    split: SplitValues, parts: Sequence[Part], rows: Sequence[Floats], holdout: Floats, classes: bool
) -> tuple[AttackResult, ...]:
    """Attack a model on a request's rows, compared with the members that never held them.

    Positives are the model's scores, negatives those of the members. An area of .5 means that the model knows the rows
    as well as a model that never saw them.

    Args:
        split: the references.
        parts: the request's rows by subject.
        rows: the model's margins on each part's rows, ``(n,)`` each.
        holdout: its margins on the holdout, ``(H,)``.
        classes: whether the models are classifiers.

    Returns:
        Each attack by row and by subject; empty where no row can be attacked.
    """
    requested, phi = np.concatenate([part.rows for part in parts]), np.concatenate(list(rows))
    part_of = np.repeat(np.arange(len(parts)), [len(part.rows) for part in parts])
    most = max(1, LARGEST // split.members)
    if len(requested) > most:
        drawn = np.sort(np.random.default_rng(SEED).choice(len(requested), most, replace=False))
        requested, phi, part_of = requested[drawn], phi[drawn], part_of[drawn]
    shadows = Shadows.of(split, requested, classes)
    if not len(shadows.rows):
        return ()
    usable = np.isin(requested, shadows.rows)
    phi, part_of = phi[usable], part_of[usable]
    of_members, columns = shadows.of_members(), np.broadcast_to(shadows.rows, shadows.held.shape)
    results = []
    for attack, scores in shadows.of_model(phi, holdout).items():
        _, negatives = _by_membership(of_members[attack], shadows.held, columns)
        positives = Scores(scores, np.full(len(scores), -1), shadows.rows)
        results.append(AttackResult(attack, ROW, _roc(positives, negatives)))
        results += _subjects_of_request(attack, scores, of_members[attack], shadows, part_of)
    return tuple(results)


def _subjects_of_request(
    attack: str, scores: Floats, of_members: Floats, shadows: Shadows, part_of: Indices
) -> list[AttackResult]:
    """Return the attack by subject: the model's mean score on each part, compared with members that never saw it."""
    positives, negatives, percentiles = [], [], []
    for part in np.unique(part_of):
        columns = np.flatnonzero(part_of == part)
        never = np.flatnonzero(~shadows.held[:, columns].any(1))
        if not len(never):
            continue
        score = round(float(scores[columns].mean()), DIGITS)
        others = of_members[np.ix_(never, columns)].mean(1).round(DIGITS)
        positives.append(Scores(np.array([score]), np.array([-1]), np.array([part])))
        negatives.append(Scores(others, never, np.full(len(never), part)))
        percentiles.append(float(((others < score) + (others == score) / 2).mean()))
    if not positives:
        return []
    by_part, percentile = joined(positives), float(np.mean(percentiles))
    return [AttackResult(attack, SUBJECT, _roc(by_part, joined(negatives)), float(by_part.values.mean()), percentile)]


class _Subjects:
    """The mean scores over the rows of each subject.

    Args:
        split: the references.
        shadows: on rows of ``subjects``.
        subjects: whose rows are averaged.
    """

    def __init__(self, split: SplitValues, shadows: Shadows, subjects: Sequence[int]) -> None:
        place = np.full(split.signals[SIGNAL].rows.shape[1], -1)
        place[shadows.rows] = np.arange(len(shadows.rows))
        columns = [place[split.positions[subject]] for subject in subjects]
        columns = [of_subject[of_subject >= 0] for of_subject in columns]
        present = [subject for subject, of_subject in zip(subjects, columns, strict=True) if len(of_subject)]
        columns = [of_subject for of_subject in columns if len(of_subject)]
        self.keep = split.keep[:, present]
        self.columns = np.concatenate(columns)
        sizes = [len(of_subject) for of_subject in columns]
        self.starts = np.cumsum([0, *sizes[:-1]])
        # In a pool with groups a member may hold some rows of a subject alone; its mean is over those.
        self.counted = shadows.held[:, self.columns] == np.repeat(self.keep, sizes, axis=1)
        self.subjects = np.broadcast_to(np.array(present), self.keep.shape)

    def split(self, scores: Floats) -> tuple[Scores, Scores]:
        """Average scores ``(M, n)`` by subject; return those of members that saw it, and of those that did not."""
        count = np.add.reduceat(self.counted.astype(float), self.starts, axis=1)
        total = np.add.reduceat(np.where(self.counted, scores[:, self.columns], 0.0), self.starts, axis=1)
        mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        return _by_membership(mean.round(DIGITS), self.keep, self.subjects)


def _by_membership(scores: Floats, held: Flags, subjects: Indices) -> tuple[Scores, Scores]:
    """Return those scores of ``(M, n)`` that are of rows each member held, and those of rows that it lacked."""
    models = np.broadcast_to(np.arange(len(scores))[:, None], scores.shape)
    sides = []
    for chosen in (held, ~held):
        chosen = chosen & np.isfinite(scores)
        sides.append(Scores(scores[chosen], models[chosen], subjects[chosen]))
    return sides[0], sides[1]


def _roc(members: Scores, others: Scores) -> Roc:
    return roc(members, others, np.random.default_rng(SEED))


def _drawn_subjects(split: SplitValues) -> list[int]:
    """Return the subjects that have rows: all, or as many as ``LARGEST`` allows, drawn at random."""
    subjects = [subject for subject, rows in enumerate(split.positions) if len(rows)]
    rows = sum(len(split.positions[subject]) for subject in subjects)
    most = LARGEST // split.members
    if rows <= most:
        return subjects
    drawn: list[int] = []
    taken = 0
    for subject in np.random.default_rng(SEED).permutation(subjects):
        taken += len(split.positions[subject])
        if taken > most and drawn:
            break
        drawn.append(int(subject))
    return sorted(drawn)
