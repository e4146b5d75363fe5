"""The report of a case: one HTML file that needs no network, no script and no other file."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from neuralyzer.report import attacks, charts, formats, histograms, statement, wording
from neuralyzer.report.to_do import to_do
from neuralyzer.verification.words import leading_family, narrow_enough, remaining
from neuralyzer.workspace.atomic import write_bytes

_TEMPLATE = "page.html.j2"


def write_report(result: Mapping[str, Any], margins: Mapping[str, Sequence[float]], path: Path) -> Path:
    """Write the report of a case.

    Args:
        result: what ``neuralyzer forget --json`` prints. ``audit``, ``plan``, ``verification``, ``utility``,
            ``acceptance`` and ``certificate`` may be None, and so may every number of a family.
        margins: margins on the forget rows under the models ``original`` and ``unlearned``, and pooled over the
            references that ``never_saw`` and that ``saw`` them; any may be missing.
        path: of the file.

    Returns:
        ``path``.

    Raises:
        StorageError: if it cannot be written.
    """  # StorageError comes from the atomic write
    return write_bytes(path, _render(result, margins).encode())


def _render(result: Mapping[str, Any], margins: Mapping[str, Sequence[float]]) -> str:
    return environment().get_template(_TEMPLATE).render(_context(result, margins))


def environment() -> jinja2.Environment:
    """Return what templates are rendered with: all that is not marked as safe is escaped, a missing name is an error."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("neuralyzer.report", "."),
        autoescape=True,  # for every template, whatever its name
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "percent": formats.percent,
        "seconds": formats.seconds,
        "utility": formats.utility,
    }
    templates.globals["interval"] = formats.interval
    return templates


def _context(result: Mapping[str, Any], margins: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    families = families_of(result)
    plan, verification = result.get("plan"), result.get("verification")
    options = [_option(option) for option in plan["options"]] if plan else []
    word, sentence = wording.verdict(result)
    certificate, known = result.get("certificate"), attacks.known(result)
    return {
        "case": result.get("case"),
        "request": {"commitment": None} | result["request"],
        "facts": _facts(result),
        "verdict": word,
        "verdict_class": word.replace(" ", "-") if word in wording.VERDICTS else "inconclusive",
        "sentence": sentence,
        "bounded": wording.bounded(verification) if verification else "",
        "measured": verification.get("sentence")
        if verification and word in ("inconclusive", "not forgotten")
        else None,
        "to_do": to_do(result),
        "tiles": _tiles(result, families),
        "steps": wording.steps(result, families),
        "families": families,
        "retrained": max((len(family["retrained"]) for family in families), default=0),
        "controls": wording.controls(verification or {}),
        "answers": result.get("answers"),  # cases of earlier versions have none
        "attacks": attacks.tables(known) if known else [],
        "options": options,
        "attempts": [_attempt(attempt) for attempt in (result.get("unlearning") or {}).get("attempts") or ()],
        "budget": plan.get("budget") if plan else None,
        "undrawn": sum(option["seconds"] is None or option["trace"] is None for option in options),
        "utility": _utility(result),
        "acceptance": result.get("acceptance"),
        "statement": statement.statement(result, families),
        "tested": [family for family in families if family["unlearned"]["trace"] is not None],
        "not_tested": _texts(result.get("not_tested")),
        "limits": _texts(result.get("limits")),
        "certificate": certificate,
        "command": f"neuralyzer certificate verify {shlex.quote(Path(certificate).name)} --weights WEIGHTS"
        if certificate
        else None,
        "weights": result.get("weights"),
        "charts": {
            "traces": charts.traces(families),
            "options": charts.options(options, plan.get("budget") if plan else None),
            "margins": histograms.margins(margins),
            "roc": attacks.roc(known) if known else None,
        },
        "saw": bool(len(margins.get("saw", ()))),
    }


def families_of(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Join the traces of audit and verification by signal.

    Args:
        result: has ``audit`` and ``verification``; either may be missing.

    Returns:
        One mapping per signal: family, signal, label, counts, original, unlearned, detectable, null, retrained.
    """
    audited = {family["signal"]: family for family in (result.get("audit") or {}).get("families") or ()}
    verified = {family["signal"]: family for family in (result.get("verification") or {}).get("families") or ()}
    joined = []
    for signal in [*verified, *(signal for signal in audited if signal not in verified)]:
        before, after = audited.get(signal, {}), verified.get(signal, {})
        latest = after or before
        # The audit has the original's trace with an interval, on the tuning split; the verification has the trace
        # alone.
        original = _reading(before, "trace") if before.get("trace") is not None else _reading(after, "original")
        if "trace" not in before:
            original |= {"low": None, "high": None}
        # The trace of a model that never saw the rows is 0, give or take half of the interval's width.
        low, high = latest.get("low"), latest.get("high")
        joined.append(
            {
                "family": str(latest["family"]),
                "signal": str(signal),
                "label": str(latest["family"]).capitalize(),
                "counts": bool(latest.get("counts")),
                "original": original,
                "unlearned": _reading(after, "unlearned"),
                "detectable": latest.get("detectable"),
                "null": (high - low) / 2 if low is not None and high is not None else None,
                "retrained": [trace for trace in after.get("retrained") or () if trace is not None],
            }
        )
    labels = [family["label"] for family in joined]
    for family in joined:
        family["answer"] = wording.question_and_answer(family)
        if labels.count(family["label"]) > 1:
            family["label"] += f" ({family['signal']})"
    return joined


def _reading(family: Mapping[str, Any], trace: str) -> dict[str, Any]:
    low, high = family.get("low"), family.get("high")
    if not narrow_enough(low, high):  # the interval makes the number meaningless
        return {"trace": None, "low": None, "high": None}
    return {"trace": family.get(trace), "low": low, "high": high}


def _option(option: Mapping[str, Any]) -> dict[str, Any]:
    return {"seconds": None, "trace": None, "utility": None, "chosen": False, "reason": ""} | dict(option)


def _attempt(attempt: Mapping[str, Any]) -> dict[str, Any]:
    nothing = {"seconds": None, "trace": None, "utility": None}
    return (
        nothing
        | {"reason": None, "verdict": None}
        | dict(attempt)
        | {"predicted": nothing | dict(attempt.get("predicted") or {})}
    )


def _facts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the facts at the head of the page: who requested what of whom, and when."""
    request, missed = result["request"], statement.days_late(result)
    due, done = statement.day(request.get("due")), statement.day(request.get("done"))
    withheld = "names withheld" if request.get("commitment") else "no person named"
    facts = (
        ("Organisation", result.get("organisation")),
        ("Model", result.get("model")),
        ("Request", request["id"]),
        ("Data of", statement.named(result) or withheld),
        ("Received", statement.day(request.get("received"))),
        ("Due", due),
        ("Answered", f"{done}, {missed}" if missed else done),
        ("Decided by", request.get("decided_by")),
        ("Reason", request["reason"]),
    )
    return [(name, str(value)) for name, value in facts if value]


def _tiles(result: Mapping[str, Any], families: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Pick the figures beside the verdict, all of the leading family.

    Returns:
        Caption, figure and remark of each.
    """
    tiles = []
    verification = result.get("verification") or {}
    leading = None if verification.get("basis") == "exact" else leading_family(families)
    if leading is not None:
        for caption, reading in (("Trace before", leading["original"]), ("Trace now", leading["unlearned"])):
            if reading["trace"] is not None:
                between = formats.interval(reading["low"], reading["high"])
                tiles.append(
                    (caption, formats.percent(reading["trace"]), between if between != formats.MISSING else "")
                )
        if (remains := remaining(verification.get("families") or ())) is not None:
            tiles.append(("May remain", formats.percent(remains), "at most"))
        if (bound := wording.bound(verification)) is not None:
            tiles.append(("Would be found", formats.percent(bound), "or more"))
    utility = _utility(result)
    if utility and utility["holdout"] and utility["rows"][0]["unlearned"] is not None:
        row, name = utility["rows"][0], utility["name"]
        tiles.append(
            (
                name.capitalize(),
                formats.utility(row["unlearned"], name),
                f"was {formats.utility(row['original'], name)}",
            )
        )
    elif result.get("unlearning"):
        tiles.append(("Unlearning took", formats.seconds(result["unlearning"].get("seconds")), ""))
    return tiles


def _utility(result: Mapping[str, Any]) -> dict[str, Any] | None:
    utility = result.get("utility")
    if not utility:
        return None
    holdout = utility.get("holdout_accuracy") or {}
    retrained = [value for value in holdout.get("retrained") or () if value is not None]
    return {
        "name": str(utility.get("name") or "accuracy"),
        "holdout": bool(holdout),
        "retrained": sum(retrained) / len(retrained) if retrained else None,
        "rows": [
            *([_change("Holdout", holdout)] if holdout else []),
            *(_change(f"Class {label}", values) for label, values in (utility.get("by_class") or {}).items()),
        ],
    }


def _change(label: str, values: Mapping[str, Any]) -> dict[str, Any]:
    before, after = values.get("original"), values.get("unlearned")
    change = after - before if before is not None and after is not None else None
    return {"label": label, "original": before, "unlearned": after, "change": change}


def _texts(values: Iterable[Any] | None) -> list[str]:
    return [str(value) for value in values or ()]
