"""The joint test over several signals: the largest ``|z|`` against its own null (Westfall and Young 1993)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neuralyzer.references.readings import Floats
from neuralyzer.trace.table import Table


@dataclass(frozen=True)
class Joint:
    """The joint test of a model on a request.

    Attributes:
        signals: the signals it is taken over.
        statistic: largest ``|z|`` over them; two-sided, since over-forgetting gives a subject away too.
        critical: its null's quantile.
        p_value: share of (never-seen member, subject) pairs at least as odd.
        rejects: whether ``p_value`` is at most alpha.
    """

    signals: tuple[str, ...]
    statistic: float
    critical: float
    p_value: float
    rejects: bool


def joint_null(tables: Mapping[str, Table], signals: Sequence[str]) -> Floats:
    """Largest null ``|z|`` over ``signals`` of each (member, subject) pair that has all of them."""
    shared = set.intersection(*(set(tables[signal].nulls) for signal in signals))
    order = sorted(shared)
    stacked = [np.concatenate([np.abs(tables[signal].subject_z[subject]) for subject in order]) for signal in signals]
    return np.asarray(np.max(stacked, axis=0))


def joint_test(tables: Mapping[str, Table], z: Mapping[str, float], signals: Sequence[str], alpha: float) -> Joint:
    """Test a model.

    Args:
        tables: null distributions by signal, of one half.
        z: the model's z by signal.
        signals: which signals take part.
        alpha: error rate.

    Returns:
        The test.
    """
    null = joint_null(tables, signals)
    statistic = max(abs(z[signal]) for signal in signals)
    p = (1 + int((null >= statistic).sum())) / (1 + len(null))
    return Joint(tuple(signals), statistic, float(np.quantile(null, 1 - alpha)), p, p <= alpha)
