"""The sentences of the report: the verdict, and the result of each step of the case."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neuralyzer.report.formats import interval, number, p_value, percent, plural, seconds
from neuralyzer.verification.words import leading_family, remaining

NOT_VERIFIED = "not verified"
VERDICTS = {
    "forgotten": "On this data the model can no longer be told apart from models that never saw it.",
    "not forgotten": "The model still behaves on this data differently from models that never saw it.",
    "untraceable": "Nothing of this data could be measured in the original model; it was removed all the same.",
    "inconclusive": "The test could not have found all that there was to find, so nothing can be said with confidence.",
    NOT_VERIFIED: "No verification was made; this report makes no claim that the data was forgotten.",
}
EXACT = "The model was made without this data, as its training record shows, so there is nothing left to forget."


@dataclass(frozen=True)
class Step:
    """One step of a case.

    Attributes:
        name: of the step.
        found: its result, in one or two sentences.
        done: whether it took place.
    """

    name: str
    found: str
    done: bool = True


def verdict(result: Mapping[str, Any]) -> tuple[str, str]:
    """Return the verdict and its meaning.

    Args:
        result: the case's result.

    Returns:
        The word and one sentence.
    """
    verification = result.get("verification")
    if verification is None:
        return NOT_VERIFIED, VERDICTS[NOT_VERIFIED]
    word = str(verification["verdict"])
    if word == "forgotten" and verification["basis"] == "exact":
        return word, EXACT
    return word, VERDICTS.get(word, VERDICTS["inconclusive"])


def count(value: Any) -> int:
    """Return a number, or the length of a list."""
    return value if isinstance(value, int) else len(value or ())


def steps(result: Mapping[str, Any], families: Sequence[Mapping[str, Any]]) -> list[Step]:
    """Return the steps of the case.

    Args:
        result: the case's result.
        families: as the page shows them.

    Returns:
        One step per stage, in order; those that did not take place say so.
    """
    references = result.get("references") or {}
    unlearning, verification = result.get("unlearning") or {}, result.get("verification")
    models = f"{plural(count(references.get('size')), 'reference model')}" if references.get("size") else ""
    return [
        Step("Located", located(result)),
        Step("References", *_or_not(models and f"{models}: {references.get('tuning', 0)} to steer by, "
             f"{references.get('judging', 0)} opened only for the verdict.", "None were used.")),
        Step("Audited", *_or_not(audited(result, families), "The original was not measured.")),
        Step("Planned", *_or_not(_planned(result), "No plan was made.")),
        Step("Unlearned", *_or_not(unlearned(unlearning), "The model was not changed.")),
        Step("Verified", *_or_not(verification and _verified(verification), "No verification was made.")),
        Step("Certified", *_or_not(
            result.get("certificate") and "Signed; how to check the certificate stands at the end of this report.",
            "No certificate was issued.")),
    ]  # fmt: skip


def _or_not(text: str | None, otherwise: str) -> tuple[str, bool]:
    return (text, True) if text else (otherwise, False)


def _sentence(text: object) -> str:
    words = str(text or "").strip()
    return words and words[0].upper() + words[1:] + ("" if words.endswith((".", "!", "?")) else ".")


def rows(result: Mapping[str, Any]) -> str:
    """Return how many rows were found, and in how many places."""
    located = result.get("located") or {}
    text = f"{plural(count(located.get('rows')), 'row')} of training data"
    hits = located.get("datasets")
    training = hits if not isinstance(hits, list) else [h for h in hits if h.get("role", "training") == "training"]
    places = [
        plural(count(kind), one, many)
        for kind, one, many in (
            (training, "data set", "data sets"),
            (located.get("runs"), "training run", "training runs"),
        )
        if count(kind)
    ]
    return text + (f" in {' and '.join(places)}." if places else ".")


def nearly_the_same(located: Mapping[str, Any]) -> str:
    """Return how many rows say nearly the same as the requested ones; empty where there are none."""
    text, copies = "", located.get("near_copies") or ()
    held_out = count([copy for copy in copies if copy["role"] == "holdout"])
    if other := count(copies) - held_out:
        text += (
            f" {plural(other, 'row')} of other people {'says' if other == 1 else 'say'} nearly the same; the request does "
            "not cover them."
        )
    if held_out:
        text += (
            f" {plural(held_out, 'holdout row')} {'says' if held_out == 1 else 'say'} nearly the same, and "
            f"{'is' if held_out == 1 else 'are'} not counted as unseen."
        )
    if taken := count(located.get("also_near")):
        text += (
            f" {plural(taken, 'row')} of other people {'was' if taken == 1 else 'were'} forgotten with them, since "
            f"{'it says' if taken == 1 else 'they say'} nearly the same."
        )
    return text


def located(result: Mapping[str, Any]) -> str:
    """Return where the rows are, and which other rows or names are similar."""
    located, text = result.get("located") or {}, rows(result)
    others = [hit for hit in located.get("datasets") or () if hit.get("role", "training") != "training"]
    if others:
        named = ", ".join(f"{hit['name']} ({hit['role']}, {plural(count(hit['rows']), 'row')})" for hit in others)
        text += f" The subject also stands in {named}, which the model was not trained on."
    if near := located.get("near") or ():
        alike, names = sum(int(hit["rows"]) for hit in near), len({hit["name"] for hit in near})
        text += (
            f" {plural(alike, 'row')} {'stands' if alike == 1 else 'stand'} under {plural(names, 'name')} much like the "
            "one asked for; the request does not cover them."
        )
    if copies := count(located.get("duplicates")):
        text += (
            f" {plural(copies, 'exact duplicate')} of these rows {'lies' if copies == 1 else 'lie'} under other names, "
            "which the request does not cover."
        )
    text += nearly_the_same(located)
    derived = located.get("derived") or ()
    for reachable, words in ((True, "can be reached"), (False, "cannot be reached")):
        models = [f"{model['name']} ({model['kind']})" for model in derived if model["reachable"] is reachable]
        if models:
            text += f" Derived from the model and {words}: {', '.join(models)}."
    for base in located.get("bases") or ():
        name = base["name"] or base["digest"][:12]
        saw = {"yes": f"saw {base['rows']} of these rows", "no": "saw none of them"}
        text += f" The pretrained base {name} {saw.get(base['saw'], 'may have seen them: ' + base['reason'])}."
    return text


def audited(result: Mapping[str, Any], families: Sequence[Mapping[str, Any]]) -> str:
    """Return what the original model held; nothing where there was no audit."""
    audit = result.get("audit")
    if audit is None:
        return ""
    leading = leading_family(families)
    if leading is None or leading["original"]["trace"] is None:
        return "No family could have found the original’s whole trace, so none was measured."
    reading = leading["original"]
    p = f", {p_value(audit['p_value'])}" if audit.get("p_value") is not None else ""
    return (
        f"The original model held {percent(reading['trace'])} of the data’s trace "
        f"(interval {interval(reading['low'], reading['high'])}{p}), where {percent(1.0)} is a model trained on "
        f"the data and {percent(0.0)} one that never saw it."
    )


def _planned(result: Mapping[str, Any]) -> str:
    plan = result.get("plan")
    if plan is None:
        return ""
    chosen = next((option for option in plan["options"] if option["chosen"]), None)
    possible = sum(bool(option["feasible"]) for option in plan["options"])
    text = f"{possible} of {plural(len(plan['options']), 'option')} feasible"
    text += f" within {seconds(plan['budget'])} of computing" if plan.get("budget") else ""
    return (
        f"{text}; chosen: {chosen['method']}. {_sentence(chosen.get('reason'))}"
        if chosen
        else f"{text}; none was chosen."
    )


def unlearned(unlearning: Mapping[str, Any]) -> str:
    """Return how the model was made to forget; nothing where it was not."""
    if not unlearning:
        return ""
    text = f"The model was made to forget with {unlearning['method']} in {seconds(unlearning.get('seconds'))}"
    if unlearning.get("retrain_seconds") is not None:
        text += f"; one retraining takes {seconds(unlearning['retrain_seconds'])}"
    if speed := unlearning.get("speed"):
        text += f"; the whole case, up to this report, took {seconds(speed['case'])}"
        if speed["pool"] and speed["per_request"] is not None:
            text += f", and {seconds(speed['per_request'])} with its share of the references"
    earlier = [attempt for attempt in unlearning.get("attempts") or () if attempt["method"] != unlearning["method"]]
    if earlier:
        tried = "; ".join(f"{a['method']} ({a.get('verdict') or a.get('reason') or 'failed'})" for a in earlier)
        text += f". Tried before and not good enough: {tried}"
    return f"{text}. The original weights were not overwritten."


def _verified(verification: Mapping[str, Any]) -> str:
    if verification["basis"] == "exact":
        return f"{str(verification['verdict']).capitalize()}: exact, by the training record."
    text = f"{str(verification['verdict']).capitalize()}"
    if verification.get("p_value") is not None:
        text += f": {p_value(verification['p_value'])}"
    return f"{text}. {bounded(verification)}".strip()


def bound(verification: Mapping[str, Any]) -> float | None:
    """Return the smallest trace that would have been found; older results have the counting families' largest."""
    value = verification.get("bound", verification.get("detectable"))
    return None if value is None else float(value)


def bounded(verification: Mapping[str, Any]) -> str:
    """Return how much may remain and how much would have been found, in a sentence; nothing where the record decides."""
    if verification["basis"] == "exact":
        return ""
    remains, detectable = remaining(verification["families"]), bound(verification)
    clauses = [] if remains is None else [f"up to {percent(remains)} of the data’s trace may remain"]
    clauses += [] if detectable is None else [f"a trace of {percent(detectable)} or more would have been found"]
    return _sentence("; ".join(clauses))


# The question that each family answers about the new model; yes is good.
QUESTIONS = {
    "retraining": "Is it no surer of these rows than models that never saw them?",
    "attack": "Does it treat changed copies of these rows as models do that never saw them, so that no attacker can tell?",
    "relearning": "Does it learn these rows again no faster than models that never saw them?",
    "accuracy": "Is it right about these rows no more often than models that never saw them?",
    "information": "Do its weights say no more of these rows than those of models that never saw them?",
}


def question_and_answer(family: Mapping[str, Any]) -> str:
    """Return a family's question and its answer, in plain words."""
    question = QUESTIONS.get(family["family"], "Is it as models that never saw these rows?")
    reading = family["unlearned"]
    if reading["trace"] is None:
        return f"{question} This could not be measured."
    read = f"{percent(reading['trace'])} of a trace ({interval(reading['low'], reading['high'])})"
    if not family["counts"]:
        return f"{question} No answer: it reads {read}, and might have missed the original’s whole trace."
    if reading["low"] is not None and reading["low"] > 0:
        return f"{question} No: it reads {read}."
    return f"{question} Yes, as far as can be seen: it reads {read}."


def controls(verification: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Return the controls' results, a sentence each, and whether each passed."""
    results = []
    negative, positive = verification.get("self_check"), verification.get("positive_control")
    if negative:
        limit = negative.get("limit")
        allowed = "" if limit is None else f"; up to {number(limit)} come where all is well"
        text = f"Negative control: on rows that nobody saw the test raised {plural(negative['alarms'], 'false alarm')}"
        results.append(
            (f"{text} in {number(negative['groups'])} tests{allowed}.", limit is None or negative["alarms"] <= limit)
        )
    original = "the original model, which saw everyone,", "these references say nothing of forgetting"
    model = "the new model", "it shows too little of what it kept for its silence to say anything"
    for control, (who, consequence) in ((positive, original), (verification.get("retained_control"), model)):
        if control:
            whom = "subjects" if control["size"] == 1 else f"groups of up to {number(control['size'])} subjects"
            whom = whom if who.startswith("the original") else f"{whom} that it should still hold"
            text = (
                f"Positive control: {who} was found on {number(control['detected'])} of {number(control['groups'])} {whom}, "
                f"and on {number(control['found'])} of the {number(control['promised'])} on which it must be"
            )
            failed = "" if control["passed"] else f"; so {consequence}"
            results.append((f"{text}{failed}.", bool(control["passed"])))
    return results
