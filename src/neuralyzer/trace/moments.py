"""Means and spreads of a signal over the members that never saw a subject and those that did."""

from dataclasses import dataclass

import numpy as np

from neuralyzer.references.readings import Flags, Floats

SMALLEST_SPREAD = 0.25  # of the median spread over all rows: discrete signals have rows where all members agree


@dataclass(frozen=True)
class Moments:
    """Moments of one signal on a subject's ``n`` rows.

    Attributes:
        never: mean ``mu`` over the ``n_never`` members that never saw the subject, ``(n,)``.
        seen: mean ``nu`` over the members that did, ``(n,)``.
        spread: pooled standard deviation ``sigma`` within the two groups, floored, ``(n,)``.
        n_never: how many members never saw it.
        n_seen: how many held each row, ``(n,)``.
    """

    never: Floats
    seen: Floats
    spread: Floats
    n_never: int
    n_seen: Floats


def moments(never: Floats, seen: Floats, held: Flags, floor: float = 0.0) -> Moments:
    """Moments from readings.

    Args:
        never: readings of members that never saw the rows, ``(n_never, n)``.
        seen: readings of members that saw the subject, ``(n_seen, n)``.
        held: which of the latter held each row, ``(n_seen, n)``.
        floor: smallest spread.

    Returns:
        The moments; the variance is pooled on ``n_never + n_seen - 2`` degrees of freedom.
    """
    mu = never.mean(0)
    n_seen = held.sum(0).astype(float)
    nu = np.where(held, seen, 0.0).sum(0) / n_seen
    within = np.square(never - mu).sum(0) + np.where(held, np.square(seen - nu), 0.0).sum(0)
    sigma = np.sqrt(within / (len(never) + n_seen - 2))
    return Moments(mu, nu, np.maximum(sigma, floor), len(never), n_seen)


def without_each(never: Floats, seen: Floats, held: Flags, floor: float = 0.0) -> Moments:
    """Moments without each of the members that never saw the rows in turn.

    Args:
        never: as for ``moments``.
        seen: as for ``moments``.
        held: as for ``moments``.
        floor: smallest spread.

    Returns:
        Moments whose ``never`` and ``spread`` are ``(n_never, n)``, a line for each member left out.
    """
    count = len(never)
    n_seen = held.sum(0).astype(float)
    nu = np.where(held, seen, 0.0).sum(0) / n_seen
    mu = never.mean(0)
    apart = never - mu
    within = np.square(apart).sum(0) - np.square(apart) * count / (count - 1)
    within = np.maximum(within, 0.0) + np.where(held, np.square(seen - nu), 0.0).sum(0)
    sigma = np.sqrt(within / (count - 1 + n_seen - 2))
    return Moments(mu - apart / (count - 1), nu, np.maximum(sigma, floor), count - 1, n_seen)


def smallest_spread(spread: Floats) -> float:
    """A quarter of the median over the rows on which members differ at all; 0 where they differ on none."""
    differing = spread[spread > 0]
    return SMALLEST_SPREAD * float(np.median(differing)) if len(differing) else 0.0


def floored(spread: Floats) -> Floats:
    """Spreads, none below the smallest one allowed."""
    return np.maximum(spread, smallest_spread(spread))
