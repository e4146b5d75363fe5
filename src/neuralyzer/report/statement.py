"""The statement that a data-protection officer can sign: asked, found, done, claimed, uncertain; and its dates."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from neuralyzer.report.formats import chance, number, percent, plural, seconds, utility
from neuralyzer.report.wording import audited, bounded, rows, verdict

GUARANTEES = {
    "exact": "the model’s distribution is that of a retrained one, by construction",
    "clean": "its weights are computed from retained rows alone",
    "certified": "indistinguishability from a retrained model is proved within stated bounds",
    "strong": "its parameters are distributed approximately like a retrained model’s",
    "weak": "its outputs are distributed approximately like a retrained model’s",
}


def statement(result: Mapping[str, Any], families: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the statement in plain language.

    Args:
        result: the case's result.
        families: as the page shows them.

    Returns:
        Heading and sentences of each part: asked, found, done, claimed, uncertain.
    """
    parts = [
        ("Asked", _asked(result)),
        ("Found", f"{rows(result)} {audited(result, families)}".strip()),
        ("Done", _done(result)),
        ("Claimed", _claimed(result)),
        ("Uncertain", _uncertain(result)),
    ]
    return [(heading, text) for heading, text in parts if text]


def named(result: Mapping[str, Any]) -> str | None:
    """Return the subjects' names, only where the policy allows it and there are any."""
    allowed = (result.get("policy") or {}).get("name_subject")
    names = result["request"].get("subjects")
    return ", ".join(map(str, names)) if allowed and names else None


def day(moment: Any) -> str | None:
    """Return the day of a date or a moment; None where there is none."""
    return None if not moment else str(moment)[:10]


def days_late(result: Mapping[str, Any]) -> str | None:
    """Return by how much the due date was missed, such as ``3 days late``; None where it was not, or there is none."""
    due, done = day(result["request"].get("due")), day(result["request"].get("done"))
    if due is None or done is None:
        return None
    days = (dt.date.fromisoformat(done) - dt.date.fromisoformat(due)).days
    return f"{plural(days, 'day')} late" if days > 0 else None


def _asked(result: Mapping[str, Any]) -> str:
    request = result["request"]
    organisation, received = result.get("organisation"), day(request.get("received"))
    if (names := named(result)) is not None:
        whose = f"the data of {names}"
    elif request.get("commitment"):
        whose = "the data of one or more subjects, whose names are withheld,"
    else:
        whose = "certain rows"
    model = f"the model {result['model']}" if result.get("model") else "the model"
    recipient = f" to {organisation}" if organisation else ""
    heading = f"Request {request['id']}{recipient}{f', received on {received},' if received else ''}"
    text = (
        f"{heading} asked that {whose} be removed from {model} (reason: {request['reason']}; guarantee asked for: "
        f"{request['guarantee']})."
    )
    if due := day(request.get("due")):
        done = day(request.get("done"))
        text += f" It was due on {due}"
        text += f" and answered on {done}, {days_late(result) or 'in time'}." if done else "."
    if request.get("decided_by"):
        text += f" {request['decided_by']} decided on it."
    return text


def _done(result: Mapping[str, Any]) -> str:
    unlearning = result.get("unlearning")
    if not unlearning:
        return "The model was not changed."
    text = f"The model was made to forget with {unlearning['method']} in {seconds(unlearning.get('seconds'))}"
    return f"{text}; the original weights were not overwritten."


def _claimed(result: Mapping[str, Any]) -> str:
    verification = result.get("verification")
    word, sentence = verdict(result)
    if verification is None:
        return sentence
    parts = [f"The verdict is “{word}”. {sentence}", bounded(verification)]
    if verification["basis"] == "statistical" and verification.get("p_value") is not None:
        parts.append(
            f"Models that never saw the data look at least this unusual with a probability of "
            f"{chance(verification['p_value'])}; below {percent(verification.get('alpha', 0.05))} the verdict would "
            "be “not forgotten”."
        )
    kept = (result.get("utility") or {}).get("holdout_accuracy")
    if kept:
        name = str(result["utility"].get("name") or "accuracy")
        parts.append(
            f"On rows that no model saw, {name} was {utility(kept.get('original'), name)} before and is "
            f"{utility(kept.get('unlearned'), name)} now."
        )
    acceptance = result.get("acceptance")
    if acceptance:
        total = acceptance["passed"] + acceptance["failed"]
        parts.append(f"{number(acceptance['passed'])} of {plural(total, 'acceptance test')} passed.")
    return " ".join(part for part in parts if part)


def _uncertain(result: Mapping[str, Any]) -> str:
    verification = result.get("verification") or {}
    parts = []
    if verification.get("basis") == "statistical":
        parts.append("The verdict rests on statistical tests: it says what could be found, not that nothing is there.")
    guarantee = GUARANTEES.get(_guarantee(result))
    if guarantee:
        parts.append(f"The method’s guarantee is “{_guarantee(result)}”: {guarantee}.")
    parts.append(
        "It is taken on trust that the certified weights are the ones in use and that no copy of the old ones is kept. "
        "Backups, logs and copies outside the registered systems are not covered."
    )
    return " ".join(parts)


def _guarantee(result: Mapping[str, Any]) -> str:
    method = (result.get("unlearning") or {}).get("method")
    options = (result.get("plan") or {}).get("options") or ()
    return next((str(option["guarantee"]) for option in options if option["method"] == method), "")
