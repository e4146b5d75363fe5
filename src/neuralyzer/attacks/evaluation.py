"""What the attacks achieve: against this kind of model at large, and against one model on one request's rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from neuralyzer.attacks.roc import Roc, Scores, joined, roc
from neuralyzer.attacks.shadows import SIGNAL, Shadows
from neuralyzer.references.signal_values import Flags, Floats, Indices, Part, SplitValues

ROW, SUBJECT = "row", "subject"
LARGEST = 100_000  # (member, row) pairs scored; where there are more, subjects or rows are drawn
DIGITS = 9  # to which means are rounded, or equal ones would be told apart by their last bit
SEED = 0  # of that draw and of the bootstrap, so that the same readings give the same intervals


@dataclass(frozen=True)
class Attacked:
    """One attack on a model.

    Attributes:
        attack: ``lira-online``, ``lira-offline``, ``rmia-online`` or ``rmia-offline``.
        unit: what is told apart: a ``row``, or a ``subject`` by the mean over its rows.
        roc: how well.
        score: the requested subjects' mean score; None for rows, and for a half at large.
        percentile: share of the members that never saw a subject that score below the model on it, ties half, averaged
            over the requested subjects; None as above.
    """

    attack: str
    unit: str
    roc: Roc
    score: float | None = None
    percentile: float | None = None


def readable(split: SplitValues) -> bool:
    """Whether the half holds the readings that the attacks are computed from."""
    return SIGNAL in split.signals and split.signals[SIGNAL].units is None


@lru_cache(maxsize=4)
def on_members(split: SplitValues, classes: bool) -> tuple[Attacked, ...]:
    """What an attacker can do with models of this kind.

    Every member takes its turn as the target and is left out of its own statistics: rows that it held are members,
    rows that it lacked are not. Where a half has more pairs of member and row than ``LARGEST``, whole subjects are
    drawn.

    Args:
        split: the references.
        classes: whether the models are classifiers.

    Returns:
        Each attack by row and by subject; empty where no row can be attacked.
    """
    subjects = _some_subjects(split)
    owner = np.full(split.signals[SIGNAL].rows.shape[1], -1)
    for subject in reversed(subjects):  # a row that belongs to a group as well goes with its own subject
        owner[split.positions[subject]] = subject
    shadows = Shadows.of(split, np.flatnonzero(owner >= 0), classes)
    if not len(shadows.rows):
        return ()
    by_subject = _Subjects(split, shadows, subjects)
    owners = np.broadcast_to(owner[shadows.rows], shadows.held.shape)
    found = []
    for attack, scores in shadows.of_members().items():
        found.append(Attacked(attack, ROW, _roc(*_split(scores, shadows.held, owners))))
        found.append(Attacked(attack, SUBJECT, _roc(*by_subject.split(scores))))
    return tuple(found)


def on_request(
    split: SplitValues, parts: Sequence[Part], rows: Sequence[Floats], holdout: Floats, classes: bool
) -> tuple[Attacked, ...]:
    """Attack a model on a request's rows, against the members that never held them.

    The model's scores are to be told from theirs: an area of .5 says that it knows the rows as a stranger does.

    Args:
        split: the references.
        parts: what the request asks for, by subject.
        rows: the model's margins on each part's rows, ``(n,)`` each.
        holdout: its margins on the holdout, ``(H,)``.
        classes: whether the models are classifiers.

    Returns:
        Each attack by row and by subject; empty where no row can be attacked.
    """
    asked, phi = np.concatenate([part.rows for part in parts]), np.concatenate(list(rows))
    part_of = np.repeat(np.arange(len(parts)), [len(part.rows) for part in parts])
    most = max(1, LARGEST // split.members)
    if len(asked) > most:
        drawn = np.sort(np.random.default_rng(SEED).choice(len(asked), most, replace=False))
        asked, phi, part_of = asked[drawn], phi[drawn], part_of[drawn]
    shadows = Shadows.of(split, asked, classes)
    if not len(shadows.rows):
        return ()
    usable = np.isin(asked, shadows.rows)
    phi, part_of = phi[usable], part_of[usable]
    against, columns = shadows.of_members(), np.broadcast_to(shadows.rows, shadows.held.shape)
    found = []
    for attack, own in shadows.of_model(phi, holdout).items():
        _, others = _split(against[attack], shadows.held, columns)
        given = Scores(own, np.full(len(own), -1), shadows.rows)
        found.append(Attacked(attack, ROW, _roc(given, others)))
        found += _subjects_of_request(attack, own, against[attack], shadows, part_of)
    return tuple(found)


def _subjects_of_request(
    attack: str, own: Floats, against: Floats, shadows: Shadows, part_of: Indices
) -> list[Attacked]:
    members, others, percentiles = [], [], []
    for part in np.unique(part_of):
        columns = np.flatnonzero(part_of == part)
        never = np.flatnonzero(~shadows.held[:, columns].any(1))
        if not len(never):
            continue
        score = round(float(own[columns].mean()), DIGITS)
        theirs = against[np.ix_(never, columns)].mean(1).round(DIGITS)
        members.append(Scores(np.array([score]), np.array([-1]), np.array([part])))
        others.append(Scores(theirs, never, np.full(len(never), part)))
        percentiles.append(float(((theirs < score) + (theirs == score) / 2).mean()))
    if not members:
        return []
    known = joined(members)
    return [
        Attacked(attack, SUBJECT, _roc(known, joined(others)), float(known.values.mean()), float(np.mean(percentiles)))
    ]


class _Subjects:
    """Means over the rows of each subject, and whose they are.

    Args:
        split: the references.
        shadows: on rows of ``subjects``.
        subjects: which subjects.
    """

    def __init__(self, split: SplitValues, shadows: Shadows, subjects: Sequence[int]) -> None:
        place = np.full(split.signals[SIGNAL].rows.shape[1], -1)
        place[shadows.rows] = np.arange(len(shadows.rows))
        columns = [place[split.positions[subject]] for subject in subjects]
        columns = [own[own >= 0] for own in columns]
        there = [subject for subject, own in zip(subjects, columns, strict=True) if len(own)]
        columns = [own for own in columns if len(own)]
        self.keep = split.keep[:, there]
        self.columns = np.concatenate(columns)
        sizes = [len(own) for own in columns]
        self.starts = np.cumsum([0, *sizes[:-1]])
        # A member of a pool with groups may hold some rows of a subject: it is read on those.
        self.alike = shadows.held[:, self.columns] == np.repeat(self.keep, sizes, axis=1)
        self.subjects = np.broadcast_to(np.array(there), self.keep.shape)

    def split(self, scores: Floats) -> tuple[Scores, Scores]:
        """Scores ``(M, n)`` by subject: of members that saw it, and of those that never did."""
        count = np.add.reduceat(self.alike.astype(float), self.starts, axis=1)
        total = np.add.reduceat(np.where(self.alike, scores[:, self.columns], 0.0), self.starts, axis=1)
        mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        return _split(mean.round(DIGITS), self.keep, self.subjects)


def _split(scores: Floats, held: Flags, subjects: Indices) -> tuple[Scores, Scores]:
    """Scores ``(M, n)`` of what each member held, and of what it lacked."""
    models = np.broadcast_to(np.arange(len(scores))[:, None], scores.shape)
    found = []
    for chosen in (held, ~held):
        chosen = chosen & np.isfinite(scores)
        found.append(Scores(scores[chosen], models[chosen], subjects[chosen]))
    return found[0], found[1]


def _roc(members: Scores, others: Scores) -> Roc:
    return roc(members, others, np.random.default_rng(SEED))


def _some_subjects(split: SplitValues) -> list[int]:
    """Subjects that have rows: all, or as many as ``LARGEST`` allows."""
    subjects = [subject for subject, own in enumerate(split.positions) if len(own)]
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
