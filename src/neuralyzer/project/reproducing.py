"""``certificate reproduce``: a case of a project is run again in a temporary folder, and compared with its certificate."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from neuralyzer.cases import comparison, past_references
from neuralyzer.cases.attempt import Outcome as Attempted
from neuralyzer.cases.certificate import verification_record
from neuralyzer.cases.comparison import Conclusion, Difference, Reproduction
from neuralyzer.cases.folder import Folder
from neuralyzer.cases.run_again import PastCase, run_again
from neuralyzer.certificates.check import check
from neuralyzer.certificates.statement import Predicate
from neuralyzer.errors import NeuralyzerError, ReferencesError, UsageError, first_line
from neuralyzer.models import threads
from neuralyzer.progress import Progress, Silent
from neuralyzer.project.past_case import find, models_between
from neuralyzer.project.project import Project
from neuralyzer.references.pool import References
from neuralyzer.verification.verification import Verification
from neuralyzer.workspace import atomic, digests
from neuralyzer.workspace.paths import Workspace
from neuralyzer.workspace.policy import Policy


def certificate_of(project: Project, which: str) -> Path:
    """Return the certificate that a path or the id of a case names.

    Raises:
        UsageError: if there is none.
    """
    of_case = project.workspace.cases / which / "certificate.json"
    found = next((path for path in (Path(which), of_case) if path.is_file()), None)
    if found is None:
        raise UsageError(f"{which} is neither a certificate's file nor a case of this project with a certificate")
    return found


def reproduce(
    project: Project, which: str, key: Path | None = None, train: bool = False, progress: Progress | None = None
) -> Reproduction:
    """Run a past case again and compare it with its certificate; nothing of the project is changed.

    Args:
        project: of the case.
        which: its id, or the path of its certificate.
        key: the operator's public key in PEM; by default the one beside the certificate.
        train: whether references may be trained again, where their values of the rows were erased.
        progress: shows the work.

    Returns:
        What came of it.
    """
    path, progress = certificate_of(project, which), progress or Silent()
    checked = check(path, public_key=key)
    if not checked.ok or checked.predicate is None:
        failures = [f"the certificate fails its check: {failure}" for failure in checked.failures]
        return Reproduction(which, Conclusion.CANNOT, reasons=failures)
    certified = Predicate.model_validate_json(json.dumps(checked.predicate))
    case = certified.request.id
    count = certified.method.threads or torch.get_num_threads()
    environment = comparison.environment(certified, count)
    folder = Folder(project.workspace.cases / case)
    stored = _stored(folder, certified) if folder.has("result") else []
    reasons = list[str]()
    with threads.using(count), tempfile.TemporaryDirectory(prefix="neuralyzer-") as temporary:
        try:
            past = find(project, certified)
            result, pool = folder.read("result"), None
            place = Workspace(Path(temporary), _policy(result))
            try:
                pool = _pool(project, past, result, place, train, progress)
            except ReferencesError as error:
                reasons.append(str(error))
            made = run_again(past, pool, place, project.device(None), progress)
        except NeuralyzerError as error:
            outcome = Conclusion.DIFFERS if stored else Conclusion.CANNOT
            return Reproduction(case, outcome, None, None, stored, [*reasons, str(error)], environment)
        return _compared(past, made, stored, reasons, environment)


def _policy(result: Mapping[str, Any]) -> Policy:
    """Return the policy by which a case was judged; acceptance tests run in the project's folder, so not again."""
    known = {name: value for name, value in result["policy"].items() if name in Policy.__dataclass_fields__}
    return replace(Policy(**known), acceptance=None)


def _pool(
    project: Project, past: PastCase, result: Mapping[str, Any], place: Workspace, train: bool, progress: Progress
) -> References | None:
    """Return the references that judged, in a workspace of their own; None where the case had none.

    Raises:
        ReferencesError: if they are not there any more as they were.
    """
    wanted = past.certified.protocol.references
    if wanted is None:
        return None
    source = project.workspace.references / Path(str(result["references"]["folder"])).name
    if not (source / "pool.json").exists():
        raise ReferencesError(f"the references {source.name} that judged are gone, so the verdict is not repeated")
    if past_references.holds(source, past.oracle):
        pool = past_references.copied(source, place, past.oracle)
    else:
        models = models_between(project, atomic.read_json(source / "pool.json")["data"], past.oracle)
        pool = past_references.made_again(
            source, place, models, place.policy.alpha, train, project.device(None), progress
        )
    if pool.digest != wanted:
        raise ReferencesError(f"the references {source.name} are not those that judged; members were added, or changed")
    return pool


def _stored(folder: Folder, certified: Predicate) -> list[Difference]:
    """Return in what the stored weights and the stored result are not the certified ones."""
    result, name = folder.read("result"), "stored result"
    try:
        record = verification_record(Verification.from_dict(result["verification"])).model_dump(mode="json")
    except (KeyError, TypeError, ValueError) as error:
        return [Difference(name, "a verification", f"{type(error).__name__}: {first_line(error)}")]
    unlearning = result["unlearning"]
    used = {"method": unlearning["method"], "hyperparameters": unlearning["hyperparameters"]}
    known = {"method": certified.method.name, "hyperparameters": certified.method.hyperparameters}
    found = dict(comparison.flat({"verification": record, **used}, name))
    wanted = dict(comparison.flat({"verification": certified.verification.model_dump(mode="json"), **known}, name))
    path = folder.root.joinpath(*Path(result["weights_file"]).parts[-3:])  # the project may have moved
    if path.exists():
        wanted["stored weights"], found["stored weights"] = certified.weights.unlearned, digests.of_file(path)
    return comparison.between(wanted, found)


def _compared(
    past: PastCase, made: Predicate | Attempted, stored: list[Difference], missing: list[str], environment: list[str]
) -> Reproduction:
    """Return the outcome; weights that differ tell nothing where a part of what made them is missing."""
    certified = past.certified
    verdict: str | None = None
    digest: str | None = None
    if isinstance(made, Predicate):
        verdict, digest = made.verification.verdict, made.weights.unlearned
        found = comparison.differences(certified, made, read=made.protocol.references is not None)
    else:
        if made.weights is not None:
            digest = digests.of_file(made.weights)
        wanted = {"weights.unlearned": certified.weights.unlearned, "attempt": "accepted"}
        attempt = "; ".join(made.failures) or "accepted"
        found = comparison.between(wanted, {"weights.unlearned": digest, "attempt": attempt})
    equal, reasons, unsure = digest == certified.weights.unlearned, list(missing), list[str]()
    if not equal and any(one.late for one in past.attempts):
        unsure.append("a time limit stopped an attempt, and where that was depends on how fast the machine was")
    if not equal and missing and not past.exact:
        unsure.append("without its references the method may have worked otherwise, so other weights tell nothing")
    if unsure and not stored:
        return Reproduction(certified.request.id, Conclusion.CANNOT, None, None, [], [*reasons, *unsure], environment)
    if past.request is None:
        reasons.append(
            "it is no longer known which rows of the batch this request was about, so the weights are compared and not the "
            "verdict"
        )
    earlier = len(certified.method.escalated_from)
    left_out = earlier - (len(made.method.escalated_from) if isinstance(made, Predicate) else 0)
    if left_out:
        reasons.append(f"{left_out} of {earlier} attempts before the final one were not run again")
    if certified.acceptance is not None:
        reasons.append("the team's acceptance tests are not run again")
    outcome = Conclusion.DIFFERS if stored or found else Conclusion.REPRODUCED
    return Reproduction(certified.request.id, outcome, equal, verdict, [*stored, *found], reasons, environment)
