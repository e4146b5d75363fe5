"""Means and spreads of a signal over the members that never saw a subject and those that did."""

from dataclasses import dataclass

import numpy as np

from neuralyzer.references.signal_values import Flags, Floats

SMALLEST_SPREAD = 0.25  # of the median spread over all rows: discrete signals have rows where all members agree


@dataclass(frozen=True)
class Moments:
    """Moments of one signal on a subject's ``n`` rows.

    Attributes:
        never: mean ``mu`` over the ``n_never`` members that never saw the subject, ``(n,)``.
        seen: mean ``nu`` over the members that did, ``(n,)``.
        spread: pooled standard deviation ``sigma`` within the two groups, floored, ``(n,)``.
        n_never: how many of these were asked about each row, ``(n,)``.
        n_seen: how many held each row, ``(n,)``.
    """

    never: Floats
    seen: Floats
    spread: Floats
    n_never: Floats
    n_seen: Floats


def moments(never: Floats, seen: Floats, held: Flags, floor: float = 0.0, asked: Flags | None = None) -> Moments:
    """Moments from readings.

    Args:
        never: readings of members that never saw the rows, ``(n_never, n)``.
        seen: readings of members that saw the subject, ``(n_seen, n)``.
        held: which of the latter held each row, ``(n_seen, n)``.
        floor: smallest spread.
        asked: which of the former count on each row, ``(n_never, n)``; all by default.

    Returns:
        The moments; the variance is pooled on two degrees of freedom less than there are readings of a row.
    """
    asked = np.ones(never.shape, dtype=bool) if asked is None else asked
    mu, n_never, apart = _mean(never, asked)
    nu, n_seen, beyond = _mean(seen, held)
    within = np.square(apart).sum(0) + np.square(beyond).sum(0)
    sigma = np.sqrt(within / (n_never + n_seen - 2))
    return Moments(mu, nu, np.maximum(sigma, floor), n_never, n_seen)


def without_each(never: Floats, seen: Floats, held: Flags, floor: float = 0.0, asked: Flags | None = None) -> Moments:
    """Moments without each of the members that never saw the rows in turn.

    Args:
        never: as for ``moments``.
        seen: as for ``moments``.
        held: as for ``moments``.
        floor: smallest spread.
        asked: as for ``moments``; two at least on each row.

    Returns:
        Moments whose ``never``, ``spread`` and ``n_never`` are ``(n_never, n)``, a line for each member left out.
    """
    asked = np.ones(never.shape, dtype=bool) if asked is None else asked
    mu, count, apart = _mean(never, asked)  # nothing is apart where a member is not asked
    nu, n_seen, beyond = _mean(seen, held)
    others = count - asked
    within = np.square(apart).sum(0) - np.square(apart) * count / (count - 1)
    within = np.maximum(within, 0.0) + np.square(beyond).sum(0)
    sigma = np.sqrt(within / (others + n_seen - 2))
    return Moments(mu - apart / (count - 1), nu, np.maximum(sigma, floor), others, n_seen)


def _mean(readings: Floats, counted: Flags) -> tuple[Floats, Floats, Floats]:
    """Mean and count of those readings of each row that count, ``(n,)``, and how far each is apart; 0 where it doesn't."""
    count = counted.sum(0).astype(float)
    mean = np.where(counted, readings, 0.0).sum(0) / count
    return mean, count, np.where(counted, readings - mean, 0.0)


def smallest_spread(spread: Floats) -> float:
    """A quarter of the median over the rows on which members differ at all; 0 where they differ on none."""
    differing = spread[spread > 0]
    return SMALLEST_SPREAD * float(np.median(differing)) if len(differing) else 0.0


def floored(spread: Floats) -> Floats:
    """Spreads, none below the smallest one allowed."""
    return np.maximum(spread, smallest_spread(spread))
