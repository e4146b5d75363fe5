"""The leaderboard's five findings, with their numbers from ``benchmarks/results``; ``generate.py`` puts them into the docs."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median

import left_behind
from left_behind import Line
from world_tables import best_peer

HALF = 0.5  # of the whole trace
SMALL = 0.25  # a plan does not choose what is expected to leave more


def findings() -> str:
    """Return the five findings as a numbered list, as Markdown."""
    lines = left_behind.lines()
    found = (_choice(lines), _defaults(lines), _accuracy(lines), _cases(lines), _unreadable(lines))
    return "\n".join(f"{place}. {text}" for place, text in enumerate(found, 1))


def readable(lines: Sequence[Line]) -> list[Line]:
    """Return the lines of requests whose trace can be read: the median retrained model shows under 40 %."""
    behind = json.loads(left_behind.RESULTS.read_text())["summary"]["regret"]["behind"]
    good = {(own["world"], own["scenario"]) for own in behind if own["measurable"]}
    return [line for line in lines if (line["world"], line["scenario"]) in good]


def _of(lines: Iterable[Line], entrant: str) -> list[Line]:
    return [line for line in lines if line["entrant"] == entrant and "failed" not in line]


def _range(values: Sequence[float]) -> str:
    return f"{100 * min(values):.0f} to {100 * max(values):.0f} %"


def _choice(lines: Sequence[Line]) -> str:
    kept = readable(lines)
    plan, original = _of(kept, "plan:"), _of(kept, "original")
    traces, detected = [line["worst"] for line in plan], sum(line["rejects"] for line in plan)
    retrains = sum(line["chosen"] == "retrain" for line in plan)
    return (
        f"**A tenth of a retraining's time removes most of the trace.** The trace can be read in {len(plan)} of the "
        f"{len(_of(lines, 'plan:'))} requests: the median retrained model shows less than 40 % there. In these the "
        f"original holds {_range([line['worst'] for line in original])}. The plan's choice leaves {_range(traces)}, "
        f"{100 * median(traces):.0f} % in the median, and is detected in {detected}. It takes {_range(left_behind.shares(plan))} of a "
        f"retraining's time, {100 * median(left_behind.shares(plan)):.0f} % in the median; in {retrains} the plan chose a retraining. Retrained models show "
        f"{_range(left_behind.retrained(kept, 'worst'))}."
    )


def _defaults(lines: Sequence[Line]) -> str:
    kept = readable(lines)
    by_entrant = left_behind.entrants(kept)
    left = {
        name.partition(":")[2]: left_behind.middle(ran, "worst")
        for name, ran in by_entrant.items()
        if name.startswith("default:")
    }
    small = sorted((name for name, trace in left.items() if trace <= SMALL), key=lambda name: left[name])
    peers = [name for name in by_entrant if name.startswith("erasus:")]
    best = best_peer(by_entrant)
    return (
        f"**Most algorithms, at their papers' defaults, leave more than half of the trace.** In these "
        f"requests {sum(trace > HALF for trace in left.values())} of {len(left)} do, each in the median of those in which it ran. "
        f"At most {100 * SMALL:.0f} % is left by {', '.join(f'`{name}` ({100 * left[name]:.0f} %)' for name in small)}. "
        f"{sum(left_behind.middle(by_entrant[name], 'worst') > HALF for name in peers)} of the {len(peers)} strategies of "
        f"erasus leave more than half; the best of them, `{str(best).partition(':')[2]}`, leaves {100 * left_behind.middle(by_entrant[str(best)], 'worst'):.0f} %."
    )


def _accuracy(lines: Sequence[Line]) -> str:
    ran = left_behind.entrants(left_behind.scenarios(lines)["cifar10", "ten"])
    names = ("amnesiac", "ct", "unsir")
    broken = [
        f"`{name}` leaves {100 * left_behind.middle(ran[f'default:{name}'], 'worst'):.0f} % with a gap of "
        f"{left_behind.middle(ran[f'default:{name}'], 'gap'):.1f} points"
        for name in names
    ]
    plan = ran["plan:"]
    return (
        f"**A small trace alone is no success.** With ten people of CIFAR-10 in its batches, {', '.join(broken)}: little "
        f"trace is left, and little accuracy. The plan's choice leaves {100 * left_behind.middle(plan, 'worst'):.0f} % "
        f"with a gap of {left_behind.middle(plan, 'gap'):.1f} points."
    )


def _cases(lines: Sequence[Line]) -> str:
    cases = _of(lines, "forget:")
    words = Counter(line["verdict"] for line in cases)
    first = sum(len(line["attempts"]) == 1 for line in cases)
    return (
        f"**No whole case ends `not forgotten`.** Of {len(cases)} cases "
        f"{', '.join(f'{count} end `{word}`' for word, count in words.most_common())}. In {first} the first option was "
        f"enough. A whole case takes {_range(left_behind.shares(cases))} of a retraining's time, {100 * median(left_behind.shares(cases)):.0f} % in the "
        f"median: on models this small, audit, verdict and certificate take longer than the unlearning."
    )


def _unreadable(lines: Sequence[Line]) -> str:
    kinds = left_behind.scenarios(lines)
    adult = [left_behind.retrained(kinds["adult", scenario], "rejects") for scenario in ("ten", "one")]
    return (
        f"**Some requests are too small or too common to be read.** One person of 14 rows of the digits: retrained "
        f"models show {_range(left_behind.retrained(kinds['digits', 'one'], 'worst'))}. Half a class of the digits: "
        f"{_range(left_behind.retrained(kinds['digits-classes', 'half'], 'worst'))}. On Adult, groups of people with a "
        f"row each are detected in {sum(adult[0]):.0f} of {len(adult[0])} (3,250 people) and {sum(adult[1]):.0f} of "
        f"{len(adult[1])} (325 people) retrained models. Adult was run before "
        f"[groups were judged as such](decisions/0031-groups-of-people.md); "
        f"[newer figures](statistics.md#requests-of-many-people-with-one-row-each) show far fewer false alarms."
    )
