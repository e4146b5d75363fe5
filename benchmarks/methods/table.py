"""The leaderboard's figures, out of the lines of all entrants."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from scipy.special import ndtr

from neuralyzer.trace.left import NORMAL, trace_left
from neuralyzer.trace.residual import POWER_QUANTILE

GAP = 0.5  # points: how far the picked option's average gap may be behind the best's
TRACE = 0.1  # how far its worst trace may be
MEASURABLE = 0.4  # the median retrained model's largest trace, under which largest traces say something


def line(own: dict[str, Any]) -> str:
    """One entrant for the terminal."""
    name = f"{own['entrant']:28}"
    if "failed" in own:
        return f"{name} failed: {own['failed']}"
    took = (
        f"{own['seconds']:7.2f} s ({100 * own['seconds'] / own['retraining_seconds']:5.1f} %)"
        if "seconds" in own
        else ""
    )
    return (f"{name} worst {100 * own['worst']:5.0f} % {'told' if own['rejects'] else '    '} gap {own['gap']:5.2f} "
            f"klom {own['klom']:5.2f} test {own['test']:.3f} {took}")  # fmt: skip


def merged(earlier: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of an earlier run with those of this one in their place, by world, scenario and entrant; new ones last."""

    def by_place(lines: Sequence[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
        return {(own["world"], own["scenario"], own["entrant"]): own for own in lines}

    return list((by_place(earlier) | by_place(now)).values())


def summary(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """By entrant over all worlds and scenarios: medians, how often it was told, and what did not run."""
    found = {}
    for name in dict.fromkeys(own["entrant"] for own in lines if own["entrant"] != "retrained"):
        own = [one for one in lines if one["entrant"] == name]
        ran = [one for one in own if "failed" not in one]
        if not ran:
            found[name] = {"runs": 0, "failed": own[0]["failed"]}
            continue
        found[name] = {
            "runs": len(ran), "failed": len(own) - len(ran),
            "worst_median": float(np.median([one["worst"] for one in ran])),
            "told": float(np.mean([one["rejects"] for one in ran])),
            **{f"{key}_median": float(np.median([one[key] for one in ran])) for key in ("gap", "klom", "test")},
        }  # fmt: skip
        timed = [one for one in ran if "seconds" in one]
        if timed:
            found[name]["share_of_retraining_median"] = float(
                np.median([one["seconds"] / one["retraining_seconds"] for one in timed])
            )
        ratios = [one["seconds"] / one["predicted_seconds"] for one in timed if one.get("predicted_seconds")]
        if ratios:
            found[name]["seconds_over_predicted"] = [
                float(np.median(ratios)),
                float(min(ratios)),
                float(max(ratios)),
            ]
    return {"entrants": found, "regret": regret(lines)}


def measurable(retrained: dict[str, Any]) -> bool:
    """Whether traces say something of a request, by the line of its retrained models."""
    return bool(np.median(retrained["worst"]) < MEASURABLE)


def left(own: dict[str, Any], retrained: dict[str, Any]) -> float | None:
    """What a run left by the families that count, weighted by their errors, less what retrained models show.

    A family counts where its interval is narrow enough that a whole trace would have been found with 95 % power. Of the
    retrained models' traces the lines keep the smallest and the largest.

    Returns:
        A fraction; None where no family counts.
    """
    families = []
    for name, trace in own["traces"].items():
        half, shown = (trace["high"] - trace["low"]) / 2, retrained["traces"][name]
        spread = (shown["high"] - shown["low"]) / mean_range(retrained["models"])
        families.append(
            {
                "unlearned": trace["trace"], "low": trace["low"], "high": trace["high"],
                "counts": half * (1 + POWER_QUANTILE / NORMAL) <= 1, "shown": (shown["low"] + shown["high"]) ** 2 / 4 + spread**2,
            }
        )  # fmt: skip
    return trace_left(families)


@cache
def mean_range(count: int) -> float:
    """Largest less smallest of so many normal readings, in the mean and in standard deviations (Tippett 1925)."""
    places = np.linspace(-8, 8, 3201)
    below = ndtr(places)
    return float(np.trapezoid(1 - below**count - (1 - below) ** count, places))


def regret(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How far the plan's choice is behind the best that the same time would have bought.

    The best option is the one whose gap and trace, each in units of what is tolerated, add up to least; the trace is
    the largest over all families (``measurable_runs`` are those where it says something), or what the counting ones say
    is left (``left``, ``counting_runs``).
    """
    behind = []
    for key in dict.fromkeys((own["world"], own["scenario"]) for own in lines):
        here = [own for own in lines if (own["world"], own["scenario"]) == key and "failed" not in own]
        picked = [own for own in here if own["entrant"] == "plan:"]
        retrained = next(own for own in here if own["entrant"] == "retrained")
        within = [
            own
            for own in here
            if own["entrant"].split(":")[0] in ("default", "within", "tuned")
            and own["seconds"] <= 0.1 * own["retraining_seconds"] * 1.0001
        ]
        if not picked or not within:
            continue
        best = min(within, key=lambda own: own["gap"] / GAP + own["worst"] / TRACE)
        behind.append(
            {
                "world": key[0], "scenario": key[1], "picked": picked[0]["chosen"], "best": best["entrant"],
                "gap": picked[0]["gap"] - best["gap"], "trace": picked[0]["worst"] - best["worst"],
                "measurable": measurable(retrained), "left": _behind_by_left(picked[0], within, retrained),
            }
        )  # fmt: skip

    def share(kept: Sequence[dict[str, Any]]) -> float | None:
        good = [one["gap"] <= GAP and one["trace"] <= TRACE for one in kept]
        return float(np.mean(good)) if good else None

    seen = [one for one in behind if one["measurable"]]
    counted = [one["left"] for one in behind if one["left"] is not None]
    return {
        "runs": len(behind), "within": share(behind),
        "measurable_runs": len(seen), "measurable_within": share(seen),
        "counting_runs": len(counted), "counting_within": share(counted), "behind": behind,
    }  # fmt: skip


def _behind_by_left(
    picked: dict[str, Any], within: Sequence[dict[str, Any]], retrained: dict[str, Any]
) -> dict[str, Any] | None:
    """How far the choice is behind in gap and in what counting families say is left; None where none counts."""
    known = [(one, trace) for one in within if (trace := left(one, retrained)) is not None]
    own = left(picked, retrained)
    if own is None or not known:
        return None
    best, trace = min(known, key=lambda one: one[0]["gap"] / GAP + one[1] / TRACE)
    return {"best": best["entrant"], "gap": picked["gap"] - best["gap"], "trace": own - trace}
