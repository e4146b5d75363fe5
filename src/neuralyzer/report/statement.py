"""The paragraph that a data-protection officer can sign: asked, found, done, measured, uncertain."""

from collections.abc import Mapping, Sequence
from typing import Any

from neuralyzer.report.formats import chance, interval, number, percent, plural, utility
from neuralyzer.report.wording import audited, bound, headline, located, unlearned, verdict

GUARANTEES = {
    "exact": "the model’s distribution is that of a retrained one, by construction",
    "clean": "its weights are computed from retained rows alone",
    "certified": "indistinguishability from a retrained model is proved within stated bounds",
    "strong": "its parameters are distributed approximately like a retrained model’s",
    "weak": "its outputs are distributed approximately like a retrained model’s",
}


def statement(result: Mapping[str, Any], families: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The paragraph for the data-protection officer, in plain language.

    Args:
        result: the case's result.
        families: as the page shows them.

    Returns:
        Heading and sentences of each part: asked, found, done, measured, uncertain.
    """
    parts = [
        ("What was asked", _asked(result)),
        ("What was found", f"{located(result)} {audited(result, families)}".strip()),
        ("What was done", unlearned(result.get("unlearning") or {}) or "The model was not changed."),
        ("What was measured", _measured(result, families)),
        ("What remains uncertain", _uncertain(result)),
    ]
    return [(heading, text) for heading, text in parts if text]


def named(result: Mapping[str, Any]) -> str | None:
    """Return the subjects' names, only where the policy allows it and there are any."""
    allowed = (result.get("policy") or {}).get("name_subject")
    names = result["request"].get("subjects")
    return ", ".join(map(str, names)) if allowed and names else None


def _asked(result: Mapping[str, Any]) -> str:
    request = result["request"]
    received = f", received on {request['received']}," if request.get("received") else ""
    if (names := named(result)) is not None:
        whose = f"the data of {names}"
    elif request.get("commitment"):
        whose = "the data of one or more subjects, whose names are withheld,"
    else:
        whose = "certain rows"
    text = (
        f"Request {request['id']}{received} asked that {whose} be removed from the model "
        f"(reason: {request['reason']}; guarantee asked for: {request['guarantee']})."
    )
    if request.get("due"):
        text += f" It was due on {request['due']}."
    if request.get("decided_by"):
        text += f" {request['decided_by']} decided on it."
    return text


def _measured(result: Mapping[str, Any], families: Sequence[Mapping[str, Any]]) -> str:
    verification = result.get("verification")
    word, sentence = verdict(result)
    if verification is None:
        return sentence
    parts = [f"The verdict is “{word}”. {sentence}"]
    speaker = headline(families, "unlearned")
    if speaker is not None:
        reading = speaker["unlearned"]
        parts.append(
            f"The trace now reads {percent(reading['trace'])} (interval {interval(reading['low'], reading['high'])})"
            + ("; this decides nothing, since the basis is exact." if verification["basis"] == "exact" else ".")
        )
    if verification["basis"] == "statistical" and verification.get("p_value") is not None:
        parts.append(
            f"Models that never saw the data look at least this unusual with a probability of "
            f"{chance(verification['p_value'])}; below {percent(verification.get('alpha', 0.05))} the verdict would "
            "be “not forgotten”."
        )
    if verification["basis"] == "statistical" and (found := bound(verification)) is not None:
        parts.append(f"A trace of {percent(found)} or more would very likely have been found.")
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
    return " ".join(parts)


def _uncertain(result: Mapping[str, Any]) -> str:
    verification = result.get("verification") or {}
    parts = []
    if verification.get("basis") == "statistical":
        parts.append("The verdict rests on statistical tests: it says what could be found, not that nothing is there.")
    guarantee = GUARANTEES.get(_guarantee(result))
    if guarantee:
        parts.append(f"The method’s guarantee is “{_guarantee(result)}”: {guarantee}.")
    not_tested = result.get("not_tested") or ()
    if not_tested:
        parts.append(f"Not tested: {'; '.join(map(str, not_tested))}.")
    parts.append(
        "It is taken on trust that the certified weights are the ones in use and that no copy of the old ones is kept. "
        "Backups, logs and copies outside the registered systems are not covered."
    )
    return " ".join(parts)


def _guarantee(result: Mapping[str, Any]) -> str:
    method = (result.get("unlearning") or {}).get("method")
    options = (result.get("plan") or {}).get("options") or ()
    return next((str(option["guarantee"]) for option in options if option["method"] == method), "")
