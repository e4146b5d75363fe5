"""Tables of what the calibration measured, from ``benchmarks/results``: what ``generate.py`` puts into the docs."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results"
COMMAND = "make bench-calibration ARGS='--only {part}'"


def tables() -> str:
    """All of them, each with its command."""
    parts = [
        ("false-alarms", "False alarms on models really retrained without the rows", _alarms),
        ("power", "Power on models that saw all rows", _power),
        ("interval", "Intervals of models with a known part of a trace", _interval),
        ("siblings", "Requests of several subjects that the screen refuses", _siblings),
        ("forgetting", "After one attempt, judged once", _forgetting),
        ("matching", "After one attempt of `datamodel-matching`, judged once", _matching),
        ("lineage", "The tenth request on one lineage beside the first, twelve subjects", _lineage),
        ("speed", "One more subject with a ready pool", _speed),
    ]
    found = []
    for part, title, render in parts:
        path = RESULTS / f"calibration-{part}.json"
        if path.exists():
            content = {key: value for key, value in json.loads(path.read_text()).items() if key != "machine"}
            found.append(f"### {title}\n\n`{COMMAND.format(part=part)}`\n\n{render(content)}")
    for name, title, command, render in (
        ("groups", "Requests of many people with one row each", "python -m benchmarks.groups", _groups),
        ("controls", "Recipes that are declared wrongly", "python -m benchmarks.controls", _controls),
    ):
        path = RESULTS / f"{name}.json"
        if path.exists():
            found.append(f"### {title}\n\n`{command}`\n\n{render(json.loads(path.read_text()))}")
    return "\n\n".join(found)


def ledger() -> str:
    """What a ledger of a million entries costs."""
    found = json.loads((RESULTS / "ledger.json").read_text())
    append, proof, check = found["append"], found["proof"], found["check"]
    rows = [
        ("appends a second, in batches of 1,000", f"{append['per_second']:,.0f}"),
        ("appends a second, one by one, each on the disk before the next", f"{append['one_by_one_per_second']:,.0f}"),
        ("inclusion proof", f"{proof['milliseconds']:.1f} ms (the slowest {proof['slowest_milliseconds']:.1f} ms)"),
        ("full check", f"{check['seconds']:.0f} s, {check['peak_mb']:.0f} MB of memory"),
        ("all entries about one subject", f"{found['about']['seconds']:.0f} s, {found['about']['found']:,} found"),
        ("of 20 entries that were changed, found", f"{found['changed']['found']}"),
        ("size of the database", f"{found['megabytes']:,.0f} MB"),
    ]
    lines = [f"| {what} | {value} |" for what, value in rows]
    head = f"`python -m benchmarks ledger`: {found['entries']:,} entries in SQLite, {found['machine']['cores']} cores."
    return "\n".join([head, "", "| | |", "|---|---|", *lines])


def stage_seconds() -> str:
    """How long one request, and several in one run, took on real cases."""
    found = json.loads((RESULTS / "stage_seconds.json").read_text())
    rows = [
        [name, *(f"{own[what]:.1f}" for what in ("training", "1 together", "4 together"))]
        for name, own in found["measured"].items()
    ]
    table = _table(["model", "a training", "one request", "four requests in one run"], rows)
    own = found["durations"]
    return (
        f"{table}\n\nSo a run is taken to last {own['run_fixed']:.0f} s and {own['run_of_training']:.2f} trainings, and "
        f"{own['request_fixed']:.0f} s and {own['request_of_training']:.2f} trainings more for each request in it."
    )


def capacity() -> str:
    """How many workers hold so many requests a month."""
    cells = json.loads((RESULTS / "capacity.json").read_text())["cells"]
    shapes = sorted({(cell["models"], cell["batch_days"]) for cell in cells})
    found = {(cell["requests"], cell["training"], cell["models"], cell["batch_days"]): _workers(cell) for cell in cells}
    rows = [
        [f"{requests:,}", training, *(found[requests, training, *shape] for shape in shapes)]
        for requests, training in dict.fromkeys((cell["requests"], cell["training"]) for cell in cells)
    ]
    head = ["requests in 30 days", "a training takes"]
    for models, days in shapes:
        which = "one model" if models == 1 else f"{models} models"
        head.append(f"{which}, {f'batches of {days:.0f} days' if days else 'no batches'}")
    return _table(head, rows)


def _workers(cell: dict[str, Any]) -> str:
    if cell["workers"] is None:
        return "not held"
    return f"{cell['workers']} ({cell['median_days']:.1f} d)"


def _groups(found: dict[str, Any]) -> str:
    rows = []
    for world, table in found.items():
        if world == "machine":
            continue
        for name, own in sorted(table.items(), key=lambda pair: ("random" not in pair[0], pair[1]["rows"])):
            signals = [signal for signal in ("margin", "correct", "fisher") if signal in own["trace"]]
            originals = own["original's trace"]
            rows.append(
                [
                    world, name, str(own["rows"]), f"{own['models']}", f"{own['answered']}",
                    _share(own["false alarms"]), _share(own["false alarms, both splits"]),
                    f"{own['originals found']:.2f}",
                    ", ".join(f"{own['trace'][signal]:.2f}" for signal in signals),
                    ", ".join(f"{originals[signal]:.2f}" for signal in signals),
                    ", ".join(f"{own['detectable'][signal]:.2f}" for signal in signals),
                    _counted(own["verdicts"]),
                ]
            )  # fmt: skip
    head = [
        "world", "group", "rows", "retrained models", "the pool answers", "rejected", "both splits", "originals found",
        "trace of retrained: `margin`, `correct`, `fisher`", "of originals", "detectable", "verdicts on retrained",
    ]  # fmt: skip
    return _table(head, rows)


def _counted(words: dict[str, int]) -> str:
    return ", ".join(f"{word} {count}" for word, count in sorted(words.items(), key=lambda own: -own[1]))


def _controls(found: dict[str, Any]) -> str:
    rows = [
        [
            line["world"], line["kind"], "yes" if line["check"] else "no",
            ", ".join(name for name, failed in zip(("positive", "negative"), line["controls"], strict=True) if failed)
            or "none",
            f"{line['found'][0]} of {line['found'][1]}", _counted(line["verdicts"]),
            _counted(line["of a right original"]),
        ]
        for line in found["wrong"]
    ]  # fmt: skip
    head = [
        "world", "what the recipe does not say", "detected by the check", "control failed", "original found",
        "verdicts on another of its kind", "the same, of a right original",
    ]  # fmt: skip
    check = sum(line["check"] is not None for line in found["wrong"])
    control = sum(line["check"] is None and any(line["controls"]) for line in found["wrong"])
    ended = ("verdicts", "of a right original")
    forgotten = sum(line[name].get("forgotten", 0) for line in found["wrong"] for name in ended)
    verdicts = sum(sum(line[name].values()) for line in found["wrong"] for name in ended)
    said = (
        f"Of {len(found['wrong'])} the check catches {check}, a control {control} more, and neither the other "
        f"{len(found['wrong']) - check - control}; {forgotten} of {verdicts} verdicts on models that hold everything are "
        "`forgotten`."
    )
    wrong = f"{said}\n\n{_table(head, rows)}"
    rows = []
    for world in found["right"]:
        turned = [one["check"] is not None or not all(one["positive"] + one["negative"]) for one in world["originals"]]
        verdicts = [_counted(own) for own in world["verdicts"].values()]
        kept = world["originals"][0]["retained"]  # of each retrained model, whatever it is said to come from
        missed = f"{len(kept) - sum(kept)} of {len(kept)}"
        rows.append([world["world"], f"{sum(turned)} of {len(turned)}", missed, *verdicts])
    limits = list(found["right"][0]["verdicts"]) if found["right"] else []
    head = [
        "world",
        "originals rejected",
        "retrained models not found on what they kept",
        *(f"retrained models at `max_trace` {limit}" for limit in limits),
    ]
    return f"{wrong}\n\nRight recipes:\n\n{_table(head, rows)}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'|'.join(['---', *['---:'] * (len(head) - 1)])}|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _share(rate: dict[str, Any]) -> str:
    if rate["share"] is None:
        return "-"
    alike = rate["share"] in (0, 1)  # resampling cases that are all alike says nothing: Wilson's interval does
    low, high = rate["wilson"] if alike or "low" not in rate else (rate["low"], rate["high"])
    return f"{rate['share']:.3f} ({low:.3f} to {high:.3f})"


def _words(words: dict[str, float]) -> str:
    return ", ".join(f"{word} {100 * share:.0f} %" for word, share in sorted(words.items(), key=lambda w: -w[1]))


def _alarms(found: dict[str, Any]) -> str:
    rows = [
        [
            label, _share(own["judging half"]), str(own["judging half"]["cases"]), _share(own["both halves"]),
            _share(own["as the verdict takes it"]), _words(own["words"]),
        ]
        for label, own in found.items()
    ]  # fmt: skip
    head = ["models", "joint test of all families", "cases", "both splits", "of the counting families", "verdicts"]
    return _table(head, rows)


def _power(found: dict[str, Any]) -> str:
    rows = []
    for label, own in found.items():
        fine = own.get("caught where the finest family's detectable trace is at most 1")
        rows.append(
            [
                label, _share(own["caught"]), str(own["caught"]["cases"]),
                f"{_share(fine)}, {fine['cases']} cases" if fine else "",
                _share(own["false alarms"]) if "false alarms" in own else "",
            ]
        )  # fmt: skip
    return _table(["models", "found", "cases", "found where detectable is at most 1", "false alarms"], rows)


def _interval(found: dict[str, Any]) -> str:
    rows = [
        [
            f"{100 * float(share):.0f} % of the rows",
            name,
            f"{own['truth']:.2f}",
            f"{own['mean']:.2f}",
            f"{own['coverage']:.2f}",
        ]
        for share, signals in found.items()
        for name, own in signals.items()
    ]
    return _table(["models that kept", "signal", "true trace", "read on average", "covered by the interval"], rows)


def _siblings(found: dict[str, Any]) -> str:
    rows = [[k.removesuffix(" refused"), _share(v), str(v["cases"])] for k, v in found.items()]
    return _table(["requests", "refused", "cases"], rows)


def _forgetting(found: dict[str, Any]) -> str:
    rows, picks = [], []
    for world, own in found.items():
        for method, line in own.items():
            traces = line.get("traces", {})
            read = (f"{name} {100 * traces[name]['mean']:.0f} %" for name in ("margin", "relearned") if name in traces)
            rows.append(
                [
                    world, method, _share(line["not rejected"]), str(line["not rejected"]["cases"]),
                    f"{line.get('points below retrained', 0):.2f}", "; ".join(read), _words(line["words"]),
                ]
            )  # fmt: skip
        chosen = own["retrained"]["plan's picks"]
        picks.append(
            f"{world}: " + "; ".join(f"`{name.split(',')[0]}`{name[len(name.split(',')[0]) :]}" for name in chosen)
        )
    head = ["world", "models", "not rejected", "cases", "points of accuracy below retrained", "mean traces", "verdicts"]
    return _table(head, rows) + "\n\nThe plan's picks, for every subject alike: " + ". ".join(picks) + "."


def _matching(found: dict[str, Any]) -> str:
    rows = [
        [
            world, _share(own["not rejected"]), str(own["not rejected"]["cases"]), f"{own['utility']:.4f}",
            f"{own['members that never saw the rows']:.4f}",
            "; ".join(f"{name} {100 * trace['mean']:.0f} %" for name, trace in own["traces"].items()),
            _words(own["words"]), f"{own['seconds']:.2f}",
        ]
        for world, own in found.items()
    ]  # fmt: skip
    return _table(
        [
            "world", "not rejected", "cases", "accuracy", "of members that never saw the rows", "mean traces",
            "verdicts", "seconds, median",
        ],
        rows,
    )  # fmt: skip


def _lineage(found: dict[str, Any]) -> str:
    rows = [
        [
            label, _share(own["originals caught"]), _share(own["false alarms"]),
            f"{own['finest detectable trace, median']:.2f}",
        ]
        for label, own in found.items()
    ]  # fmt: skip
    return _table(["request", "originals found", "false alarms", "smallest detectable trace, median"], rows)


def _speed(found: dict[str, Any]) -> str:
    rows = [[k, ", ".join(f"{x:.2f}" for x in v) if isinstance(v, list) else f"{v:.2f}"] for k, v in found.items()]
    return _table(["what", "measured"], rows)
