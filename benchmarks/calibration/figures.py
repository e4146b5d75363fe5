"""Rates with their intervals, from lines of judged models."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

DRAWS = 1000
Lines = Sequence[dict[str, Any]]


def rate(lines: Lines, hit: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """A share with its 95 % interval, which resamples members and subjects.

    Members are resampled by pools: each half of each world is a draw of its own. Within a pool subjects are drawn, and
    of a subject its models, so that what they share widens the interval.

    Returns:
        ``share``, ``low``, ``high``, ``cases``; Wilson's interval too (``wilson``), which tells 0 of n from 0.
    """
    pools: dict[tuple[str, str], dict[str, list[bool]]] = {}
    for line in lines:
        subjects = pools.setdefault((line["world"], line["half"]), {})
        subjects.setdefault(line["request"], []).append(bool(hit(line)))
    hits = [value for pool in pools.values() for own in pool.values() for value in own]
    if not hits:
        return {"share": None, "low": None, "high": None, "wilson": None, "cases": 0}
    generator = np.random.default_rng(0)
    names, shares = list(pools), []
    for _ in range(DRAWS):
        total = count = 0
        for at in generator.integers(len(names), size=len(names)):
            subjects = list(pools[names[at]].values())
            for place in generator.integers(len(subjects), size=len(subjects)):
                own = np.array(subjects[place])
                total += int(own[generator.integers(len(own), size=len(own))].sum())
                count += len(own)
        shares.append(total / count)
    low, high = np.quantile(shares, [0.025, 0.975])
    return {
        "share": float(np.mean(hits)), "low": float(low), "high": float(high),
        "wilson": wilson(sum(hits), len(hits)), "cases": len(hits),
    }  # fmt: skip


def wilson(hits: int, cases: int) -> list[float]:
    """Wilson's 95 % interval of a share of independent cases (Wilson 1927)."""
    z, p = 1.96, hits / cases
    middle, reach = p + z * z / (2 * cases), z * np.sqrt(p * (1 - p) / cases + z * z / (4 * cases * cases))
    low, high = (middle - reach) / (1 + z * z / cases), (middle + reach) / (1 + z * z / cases)
    return [float(max(low, 0.0)), float(min(high, 1.0))]


def words(lines: Lines) -> dict[str, float]:
    """Share of each verdict's word."""
    found = [line["verdict"] for line in lines]
    return {word: found.count(word) / len(found) for word in sorted(set(found))}


def finest(line: dict[str, Any]) -> float:
    """The smallest detectable trace among the families."""
    return min(own["detectable"] for own in line["traces"].values())


def intervals(lines: Lines, truth: float | None) -> dict[str, dict[str, float]]:
    """By signal: what models of a known trace read on average, and how often the interval covers the truth.

    Args:
        lines: of the models.
        truth: of all of them; where None, each line has its own by signal.

    Returns:
        ``truth``, ``mean`` and ``coverage`` by signal.
    """
    signals = sorted({name for line in lines for name in line["traces"]})
    found = {}
    for name in signals:
        own = [line for line in lines if name in line["traces"]]
        known = np.array([line["truth"][name] if truth is None else truth for line in own])
        read = [line["traces"][name] for line in own]
        covered = [t["low"] <= true <= t["high"] for t, true in zip(read, known, strict=True)]
        found[name] = {
            "truth": float(known.mean()), "mean": float(np.mean([t["trace"] for t in read])),
            "median": float(np.median([t["trace"] for t in read])), "coverage": float(np.mean(covered)),
        }  # fmt: skip
    return found
