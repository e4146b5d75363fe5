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
        n_never: how many of these are comparable on each row, ``(n,)``.
        n_seen: how many held each row, ``(n,)``.
    """

    never: Floats
    seen: Floats
    spread: Floats
    n_never: Floats
    n_seen: Floats


def moments(never: Floats, seen: Floats, held: Flags, floor: float = 0.0, comparable: Flags | None = None) -> Moments:
    """Return the moments of signal values.

    Args:
        never: values of members that never saw the rows, ``(n_never, n)``.
        seen: values of members that saw the subject, ``(n_seen, n)``.
        held: which of the latter held each row, ``(n_seen, n)``.
        floor: smallest spread.
        comparable: which of the former count on each row, ``(n_never, n)``; all by default.

    Returns:
        The moments; the pooled variance of a row has two degrees of freedom less than the row has values.
    """
    comparable = np.ones(never.shape, dtype=bool) if comparable is None else comparable
    mu, n_never, never_deviations = _mean(never, comparable)
    nu, n_seen, seen_deviations = _mean(seen, held)
    squares = np.square(never_deviations).sum(0) + np.square(seen_deviations).sum(0)
    sigma = np.sqrt(squares / (n_never + n_seen - 2))
    return Moments(mu, nu, np.maximum(sigma, floor), n_never, n_seen)


def without_each(
    never: Floats, seen: Floats, held: Flags, floor: float = 0.0, comparable: Flags | None = None
) -> Moments:
    """Return the moments without each of the members that never saw the rows, in turn.

    Args:
        never: as for ``moments``.
        seen: as for ``moments``.
        held: as for ``moments``.
        floor: smallest spread.
        comparable: as for ``moments``; two at least on each row.

    Returns:
        Moments whose ``never``, ``spread`` and ``n_never`` are ``(n_never, n)``, one row for each member left out.
    """
    comparable = np.ones(never.shape, dtype=bool) if comparable is None else comparable
    mu, count, never_deviations = _mean(never, comparable)  # a member's deviation is 0 where it is not comparable
    nu, n_seen, seen_deviations = _mean(seen, held)
    others = count - comparable
    squares = np.square(never_deviations).sum(0) - np.square(never_deviations) * count / (count - 1)
    squares = np.maximum(squares, 0.0) + np.square(seen_deviations).sum(0)
    sigma = np.sqrt(squares / (others + n_seen - 2))
    return Moments(mu - never_deviations / (count - 1), nu, np.maximum(sigma, floor), others, n_seen)


def _mean(values: Floats, counted: Flags) -> tuple[Floats, Floats, Floats]:
    """Return mean and number of the counted values of each row, ``(n,)``, and their deviations; 0 if not counted."""
    count = counted.sum(0).astype(float)
    mean = np.where(counted, values, 0.0).sum(0) / count
    return mean, count, np.where(counted, values - mean, 0.0)


def smallest_spread(spread: Floats) -> float:
    """Return a quarter of the median spread over the rows on which members differ; 0 where they differ on none."""
    differing = spread[spread > 0]
    return SMALLEST_SPREAD * float(np.median(differing)) if len(differing) else 0.0


def floored(spread: Floats) -> Floats:
    """Return the spreads, each raised to ``smallest_spread`` at least."""
    return np.maximum(spread, smallest_spread(spread))
