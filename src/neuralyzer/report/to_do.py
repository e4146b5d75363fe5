"""The list of what is left to do: which weights to deploy, what still holds the data, whom to answer."""

from collections.abc import Iterator, Mapping
from typing import Any

from neuralyzer.report.formats import number, plural
from neuralyzer.report.statement import day, days_late
from neuralyzer.report.wording import count
from neuralyzer.verification.words import SETTLING


def to_do(result: Mapping[str, Any]) -> list[str]:
    """Return what is left to do.

    Args:
        result: the case's result.

    Returns:
        A sentence or two for each thing, in order.
    """
    verification = result.get("verification") or {}
    word = verification.get("verdict")
    steps = list(_release(result) if word in ("forgotten", "untraceable") else _hold(verification))
    return [*steps, *_people(result)]


def _release(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield what to do with weights, files and rows once the data is forgotten."""
    digests, file = result.get("weights") or {}, result.get("weights_file")
    if digests.get("unlearned"):
        where = f"{file} " if file else ""
        yield (
            f"Deploy the new weights: {where}(SHA-256 {digests['unlearned'][:12]}…). “neuralyzer export --to FOLDER” "
            "hands them over with their certificate."
        )
    if digests.get("original"):
        yield f"Take the old weights (SHA-256 {digests['original'][:12]}…) out of service, and delete every copy of them."
    located = result.get("located") or {}
    runs = [f"run {run['name']}" for run in located.get("runs") or ()]
    models = [
        f"{model['name']} ({model['kind']}{'' if model['reachable'] else ', not reachable from here'})"
        for model in located.get("derived") or ()
    ]
    if runs or models:
        dirty = (located.get("checkpoints") or {}).get("dirty")
        checkpoints = f"{plural(dirty, 'checkpoint')} that saw the data; " if dirty else ""
        yield f"Withdraw what was made from the data, or have it forget too: {checkpoints}{', '.join([*runs, *models])}."
    yield from _rows(located)


def _rows(located: Mapping[str, Any]) -> Iterator[str]:
    hits = located.get("datasets")
    if isinstance(hits, list) and hits:
        held = [hit["name"] + (f" ({plural(hit['rows'], 'row')})" if hit.get("rows") else "") for hit in hits]
        yield f"Delete the rows themselves, which Neuralyzer does not touch: {', '.join(held)}."
    if near := located.get("near") or ():
        names = len({hit["name"] for hit in near})
        rows = sum(int(hit["rows"]) for hit in near)
        yield (
            f"Decide whether {plural(rows, 'row')} under {plural(names, 'name')} much like the one asked for are the same "
            "person’s; this case did not cover them."
        )
    if copies := count(located.get("duplicates")):
        yield f"Find out whose it is: {plural(copies, 'row')} of equal content under other names, which this case did not cover."
    training = [copy for copy in located.get("near_copies") or () if copy["role"] == "training"]
    if training:
        yield (
            f"Decide whether {plural(len(training), 'row')} of other people that nearly copy these are to go too "
            "(--also-near); this case did not cover them."
        )


def _hold(verification: Mapping[str, Any]) -> Iterator[str]:
    """Yield what to do if the data is not known to be forgotten."""
    if not verification:
        yield "Do not claim anything: nothing was verified."
        return
    yield "Keep the new weights out of service as long as the claim is that the data was forgotten."
    options = verification.get("settled_by", ())
    if not options and verification["verdict"] == "inconclusive" and "settled_by" in verification:
        yield "No option settles it: these weights come from others that saw the data. Train from weights that did not."
        return
    options = options or ("--method retrain",)
    choices = " or ".join(f"{option} ({SETTLING[option.split()[0]]})" for option in options)
    yield f"Settle it: call “neuralyzer forget” for the same request with {choices}."


def _people(result: Mapping[str, Any]) -> Iterator[str]:
    request = result["request"]
    due, missed = day(request.get("due")), days_late(result)
    if missed:
        yield f"The legal date, {due}, was missed: this case came {missed}. Tell whoever asked, with the reason."
    elif due:
        yield f"Answer whoever asked by {due}."
    acceptance = result.get("acceptance")
    if acceptance and acceptance["failed"]:
        yield f"Look at the {plural(acceptance['failed'], 'acceptance test')} that failed ({number(acceptance['passed'])} passed)."
