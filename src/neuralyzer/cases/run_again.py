"""A past case, run again: the same attempts with the settings that are on record, in a workspace of their own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from neuralyzer.cases import certificate as certifying
from neuralyzer.cases.attempt import Outcome, shared, unlearn
from neuralyzer.cases.batch import united
from neuralyzer.cases.folder import Folder
from neuralyzer.cases.options import CaseOptions
from neuralyzer.cases.stages import Stages
from neuralyzer.certificates.statement import Predicate
from neuralyzer.data.request import ErasureRequest, Guarantee
from neuralyzer.errors import UsageError
from neuralyzer.methods import catalogue
from neuralyzer.models.trained import TrainedModel
from neuralyzer.planning.options import Option
from neuralyzer.progress import Progress
from neuralyzer.references.pool import References
from neuralyzer.unlearning.composition import JOINT
from neuralyzer.unlearning.cost import Rates
from neuralyzer.verification.verification import EXACT
from neuralyzer.workspace.paths import Workspace

EXACT_BASIS = "exact"
NO_END = 1e12  # seconds: a limit that is never reached, for methods that work otherwise where there is one
UNTIMED = Rates(*[0.0] * 9)  # the method is on record, so the plan times nothing
ACCEPTANCE = "acceptance tests failed"  # in the reason of an attempt; the team's tests are not run again


@dataclass(frozen=True)
class Recorded:
    """An attempt of a past case.

    Attributes:
        number: of the attempt.
        method: name of the algorithm.
        hyperparameters: as used.
        limited: whether its time was limited.
        late: whether it took as long as it was allowed, so that another machine would stop it elsewhere.
        judged: whether it came to a verdict.
    """

    number: int
    method: str
    hyperparameters: Mapping[str, Any]
    limited: bool = False
    late: bool = False
    judged: bool = True


@dataclass(frozen=True)
class PastCase:
    """A past case and what it began with.

    Attributes:
        certified: content of its certificate.
        oracle: the model that it began with.
        request: whose rows it was about; None where it is no longer known which rows of a batch they were.
        together: all requests of its batch, or one for all of their rows; ``request`` alone where there was no batch.
        attempts: those that left weights, in order; of a batch the one that its cases share.
        batch: whether several requests shared the unlearning.
        location: where its rows were found.
    """

    certified: Predicate
    oracle: TrainedModel
    request: ErasureRequest | None
    together: Sequence[ErasureRequest]
    attempts: Sequence[Recorded]
    batch: bool
    location: Mapping[str, Any]

    @property
    def final(self) -> Recorded:
        """Return the attempt whose weights were certified."""
        return self.attempts[-1]

    @property
    def exact(self) -> bool:
        """Return whether the training record decides, so that no references are needed."""
        return self.certified.verification.basis == EXACT_BASIS


class Repeated(Stages):
    """The stages of a case whose attempts are those on record, each with its settings and without a clock.

    Args:
        attempts: on record.
        place: gets the case.
        oracle: the model.
        request: of the case.
        references: the pool; None to unlearn without.
        options: with method and settings of the final attempt.
        progress: shows the work.
    """

    def __init__(
        self,
        attempts: Sequence[Recorded],
        place: Workspace,
        oracle: TrainedModel,
        request: ErasureRequest,
        references: References | None,
        options: CaseOptions,
        progress: Progress,
    ) -> None:
        asked = replace(request, budget=NO_END if any(one.limited for one in attempts) else None)
        super().__init__(oracle, asked, references, place, options, progress=progress)
        self._attempts = attempts

    def tries(self) -> Iterator[tuple[Option, Mapping[str, Any], Folder]]:
        """Yield the attempts on record."""
        options = {option.method: option for option in self.planned.options}
        for one in self._attempts:
            # The request's limit binds an option that is chosen.
            option = replace(options[one.method], chosen=one.limited)
            yield option, settings(one), Folder(self.folder.root / "attempts" / f"{one.number}-{one.method}")


def settings(one: Recorded) -> Mapping[str, Any]:
    """Return the hyperparameters as the catalogue takes them: a sequence of methods has none of its own."""
    return {} if JOINT in one.method else one.hyperparameters


def recorded(result: Mapping[str, Any], certified: Predicate, budget: float | None) -> list[Recorded]:
    """Return the attempts that are run again: all that left weights, down to the final one.

    Args:
        result: of the case.
        certified: has the final one's hyperparameters, signed.
        budget: seconds that the first choice was allowed.

    Returns:
        The attempts. One that failed by the team's acceptance tests is left out, since these are not run again.

    Raises:
        UsageError: if the result has no attempt by the certified method.
    """
    found = []
    for number, one in enumerate(result["unlearning"]["attempts"]):
        if one["seconds"] and ACCEPTANCE not in one["reason"]:
            limit = budget if number == 0 else None
            late, judged = limit is not None and one["seconds"] >= limit, one["verdict"] is not None
            found.append(Recorded(number, one["method"], one["hyperparameters"], limit is not None, late, judged))
    while found and not (found[-1].judged and found[-1].method == certified.method.name):
        found.pop()
    if not found:
        raise UsageError(f"the case's result has no attempt by {certified.method.name}, which is the certified one")
    return [*found[:-1], replace(found[-1], hyperparameters=certified.method.hyperparameters)]


def run_again(
    past: PastCase, pool: References | None, place: Workspace, device: str | None, progress: Progress
) -> Predicate | Outcome:
    """Run a case again.

    Args:
        past: the case.
        pool: its references as they were, in ``place``; None to unlearn without.
        place: a workspace with the case's policy and without cases.
        device: of whole trainings.
        progress: shows the work.

    Returns:
        What a certificate would say; the attempt alone where its weights cannot be judged, or it was rejected.

    Raises:
        UsageError: if the method cannot be used, such as one that needs references where there are none.
    """
    certified, final = past.certified, past.final
    options = CaseOptions(
        final.method, settings(final), certified.method.seed, UNTIMED, device=device,
        exact_references=0 if pool is None else _exact_references(certified),
    )  # fmt: skip
    judgeable = past.request is not None and (pool is not None or past.exact)
    weights_first = past.batch or not judgeable
    attempts = past.attempts if pool is not None and not weights_first else [final]
    run = Repeated(attempts, place, past.oracle, united(past.together), pool, options, progress)
    run.folder.write("located", dict(past.location))
    if judgeable and pool is not None:
        _open_as_often(past, pool)
    if not weights_first:
        return certifying.predicate(run.facts, run.declared, Path("certificate.json"))
    option, used, folder = next(run.tries())
    outcome = unlearn(run.setting, option, used, folder)
    if past.request is None or not judgeable or outcome.failures or outcome.weights is None:
        return outcome
    plain = replace(options, method=None, hyperparameters=None)
    case = Stages(
        past.oracle, past.request, pool, place, plain, progress=progress, given=shared(outcome, folder, run.retained)
    )
    case.folder.write("located", dict(past.location))
    return certifying.predicate(case.facts, case.declared, Path("certificate.json"))


def _exact_references(certified: Predicate) -> int:
    """Return how many exact references judged; the self-check tests each of them."""
    check = certified.verification.self_check
    judged = any(EXACT in holding.name for holding in certified.references)
    return check.groups if judged and check is not None else 0


def _open_as_often(past: PastCase, pool: References) -> None:
    """Count the accesses that the evaluation split had before the case, since they decide what is detectable."""
    assert past.request is not None
    names = pool.names(pool.parts(past.request.positions(past.oracle.data)))
    own = sum(
        one.judged and catalogue.make(one.method, **settings(one)).guarantee is not Guarantee.EXACT
        for one in past.attempts
    )
    for number in range(past.certified.verification.looks - own):
        pool.access_log.record(past.oracle.lineage, names, f"earlier/{number}")
