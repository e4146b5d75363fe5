"""The joint test over several signals: the largest weighted ``|z|`` against its own null (Westfall and Young 1993)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from neuralyzer.references.signal_values import Floats
from neuralyzer.trace.null_table import Table

Fineness = Mapping[str, float]  # by signal: the score that a whole trace is worth, in standard deviations


@dataclass(frozen=True)
class Joint:
    """The joint test of a model on a request.

    Attributes:
        signals: the signals it is taken over.
        statistic: largest weighted ``|z|`` over them; two-sided, since over-forgetting gives a subject away too.
        critical: its null's quantile.
        p_value: share of (never-seen member, subject) pairs at least as odd.
        rejects: whether ``p_value`` is at most alpha.
    """

    signals: tuple[str, ...]
    statistic: float
    critical: float
    p_value: float
    rejects: bool


def weights(signals: Sequence[str], sensitivity: Fineness | None) -> Floats:
    """How much each signal's ``|z|`` weighs: as finely as it sees this request, beside the finest of them.

    A family that could hardly find the whole trace makes noise alone: under the plain maximum it raises the critical
    value for all. Weights come from the members, never from the model under test, so the null has the same.

    Returns:
        Weights ``(signals,)``, 1 for the finest; all 1 without a fineness.
    """
    if sensitivity is None:
        return np.ones(len(signals))
    fine = np.array([sensitivity[signal] for signal in signals])
    return np.asarray(fine / fine.max())


def joint_null(tables: Mapping[str, Table], signals: Sequence[str], weighted: bool = False) -> Floats:
    """Largest null ``|z|`` over ``signals`` of each (member, subject) pair that has all of them.

    Args:
        tables: null distributions by signal.
        signals: which take part.
        weighted: whether each subject's ``|z|`` is weighted by how finely each signal sees that subject.

    Returns:
        One value a pair.
    """
    return np.concatenate(joint_nulls(tables, signals, weighted))


def joint_nulls(tables: Mapping[str, Table], signals: Sequence[str], weighted: bool = False) -> tuple[Floats, ...]:
    """The values of ``joint_null`` by subject, in the order of their numbers, ``(members that never saw it,)`` each."""
    return _joint_nulls(tuple(tables[signal] for signal in signals), weighted)


def shared(tables: Iterable[Table]) -> list[int]:
    """The subjects that every signal has a null for, in the order of their numbers."""
    return sorted(set.intersection(*(set(table.subject_z) for table in tables)))


@lru_cache(maxsize=64)
def _joint_nulls(tables: tuple[Table, ...], weighted: bool) -> tuple[Floats, ...]:
    found = []
    for subject in shared(tables):
        own = np.ones(len(tables))
        if weighted:
            sensitivity = np.array([table.sensitivity(subject) for table in tables])
            own = sensitivity / sensitivity.max()
        z = np.stack([np.abs(table.subject_z[subject]) for table in tables])
        found.append((own[:, None] * z).max(0))
    return tuple(found)


def p_above(null: Floats, statistic: float) -> float:
    """The share of values that are at least as large, the statistic itself counted among them."""
    return (1 + int((null >= statistic).sum())) / (1 + len(null))


def joint_test(
    tables: Mapping[str, Table],
    z: Mapping[str, float],
    signals: Sequence[str],
    alpha: float,
    sensitivity: Fineness | None = None,
) -> Joint:
    """Test a model.

    Args:
        tables: null distributions by signal, of one half.
        z: the model's z by signal.
        signals: which signals take part.
        alpha: error rate.
        fineness: of each signal on the request; without it the plain maximum is taken.

    Returns:
        The test.
    """
    null = joint_null(tables, signals, weighted=sensitivity is not None)
    own = weights(signals, sensitivity)
    statistic = max(float(weight * abs(z[signal])) for weight, signal in zip(own, signals, strict=True))
    p = p_above(null, statistic)
    return Joint(tuple(signals), statistic, float(np.quantile(null, 1 - alpha)), p, p <= alpha)
