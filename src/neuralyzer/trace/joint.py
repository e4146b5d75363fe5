"""The joint test over several signals: the largest weighted ``|z|`` against its own null (Westfall and Young 1993)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from neuralyzer.references.signal_values import Floats
from neuralyzer.trace.null_table import NullTable

Sensitivities = Mapping[str, float]  # by signal: a whole trace's score, in standard deviations of null scores


@dataclass(frozen=True)
class Joint:
    """The joint test of a model on a request.

    Attributes:
        signals: the signals it is taken over.
        statistic: largest weighted ``|z|`` over them; two-sided, since over-forgetting gives a subject away too.
        critical: the quantile ``1 - alpha`` of the null.
        p_value: share of (never-seen member, subject) pairs whose statistic is at least as large.
        rejects: whether ``p_value`` is at most alpha.
    """

    signals: tuple[str, ...]
    statistic: float
    critical: float
    p_value: float
    rejects: bool


def weights(signals: Sequence[str], sensitivity: Sensitivities | None) -> Floats:
    """Return each signal's weight in the joint test: its sensitivity to this request, divided by the largest.

    A signal that could hardly find the whole trace adds noise alone: in an unweighted maximum it would raise the
    critical value for all (decision 16). Weights come from the members, never from the model under test, so the null
    has the same weights.

    Returns:
        Weights ``(signals,)``, 1 for the most sensitive; all 1 where ``sensitivity`` is None.
    """
    if sensitivity is None:
        return np.ones(len(signals))
    values = np.array([sensitivity[signal] for signal in signals])
    return np.asarray(values / values.max())


def joint_null(tables: Mapping[str, NullTable], signals: Sequence[str], weighted: bool = False) -> Floats:
    """Return the largest null ``|z|`` over ``signals`` of each (member, subject) pair that has all of them.

    Args:
        tables: null tables by signal.
        signals: which take part.
        weighted: whether each signal's ``|z|`` is weighted by its sensitivity to the subject.

    Returns:
        One value per pair.
    """
    return np.concatenate(joint_nulls(tables, signals, weighted))


def joint_nulls(tables: Mapping[str, NullTable], signals: Sequence[str], weighted: bool = False) -> tuple[Floats, ...]:
    """Return the values of ``joint_null`` by subject, in the order of their numbers, ``(n_never,)`` each."""
    return _joint_nulls(tuple(tables[signal] for signal in signals), weighted)


def shared_subjects(tables: Iterable[NullTable]) -> list[int]:
    """Return the subjects that every signal has a null for, in the order of their numbers."""
    return sorted(set.intersection(*(set(table.subject_z) for table in tables)))


@lru_cache(maxsize=64)
def _joint_nulls(tables: tuple[NullTable, ...], weighted: bool) -> tuple[Floats, ...]:
    nulls = []
    for subject in shared_subjects(tables):
        weight = np.ones(len(tables))
        if weighted:
            sensitivity = np.array([table.sensitivity(subject) for table in tables])
            weight = sensitivity / sensitivity.max()
        z = np.stack([np.abs(table.subject_z[subject]) for table in tables])
        nulls.append((weight[:, None] * z).max(0))
    return tuple(nulls)


def p_above(null: Floats, statistic: float) -> float:
    """Return the p-value: the share of null values at least as large as the statistic, itself counted among them."""
    return (1 + int((null >= statistic).sum())) / (1 + len(null))


def joint_test(
    tables: Mapping[str, NullTable],
    z: Mapping[str, float],
    signals: Sequence[str],
    alpha: float,
    sensitivity: Sensitivities | None = None,
) -> Joint:
    """Test whether a model never saw the rows.

    Args:
        tables: null tables by signal, of one split.
        z: the model's z by signal.
        signals: which signals take part.
        alpha: error rate.
        sensitivity: of each signal to the request; without it the maximum is not weighted.

    Returns:
        The test.
    """
    null = joint_null(tables, signals, weighted=sensitivity is not None)
    by_signal = weights(signals, sensitivity)
    statistic = max(float(weight * abs(z[signal])) for weight, signal in zip(by_signal, signals, strict=True))
    p = p_above(null, statistic)
    return Joint(tuple(signals), statistic, float(np.quantile(null, 1 - alpha)), p, p <= alpha)
