"""A batch: one unlearning run for several requests, each of which is judged alone on its weights."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from neuralyzer.cases.attempt import shared, unlearn
from neuralyzer.cases.case import Case
from neuralyzer.cases.closing import References_, close, remove_names
from neuralyzer.cases.listener import CaseListener
from neuralyzer.cases.options import CaseOptions
from neuralyzer.cases.setting import Given
from neuralyzer.cases.stages import Stages
from neuralyzer.data.request import ErasureRequest, Guarantee
from neuralyzer.errors import NoVerdictError, UsageError
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Progress
from neuralyzer.references.pool import References
from neuralyzer.workspace.paths import Workspace


class Batch:
    """The cases of several requests for one model.

    A single request is a case as any other: it is planned, unlearns by itself, and tries further options where one is
    not enough. Several are planned as one request for all their rows; what that run makes is given to a case each, which
    measures, judges and certifies its own rows alone. A case that fails there tries no further option, since that would
    give it other weights than the others have; its request is to be answered on the weights of the next version.

    Args:
        oracle: the model.
        requests: one or more.
        references: the model's pool, or a function that returns it.
        place: has the policy and keeps the cases.
        options: of each case.
        watch: receives each stage's result.
        progress: shows the work.
        method: of the plan's options, the one that a person chose in place of the plan's.
    """

    def __init__(
        self,
        oracle: TrainedModel,
        requests: Sequence[ErasureRequest],
        references: References_,
        place: Workspace,
        options: CaseOptions,
        watch: CaseListener | None = None,
        progress: Progress | None = None,
        method: str | None = None,
    ) -> None:
        self._oracle, self._place, self._watch, self._progress = oracle, place, watch, progress
        self._references, self._opened = references, None if callable(references) else references
        self.requests, self.options, self._method = tuple(requests), options, method
        # The run of several is no case of its own: the ledger has the case of each.
        own = options if len(self.requests) == 1 else replace(options, ledger=None)
        self.together = self._stages(united(requests), own)

    @cached_property
    def given(self) -> Given | None:
        """Return the weights that the requests share; None for a single request, whose case makes its own.

        Raises:
            UsageError: if no option left weights that are worth judging.
        """
        if len(self.requests) == 1:
            return None
        return self.together.folder.stage("given", self._unlearned, Given.to_dict, Given.from_dict)

    @cached_property
    def rejected(self) -> dict[str, str]:
        """Return why a case came to no verdict on the shared weights, by its id; known once the batch is finished."""
        found = {}
        for stages in self.cases:
            try:
                stages.finish()
            except NoVerdictError as error:  # the tuning split sees the rows still, so no look was spent
                if self.given is None:
                    raise
                found[stages.case] = str(error)
        return found

    @cached_property
    def cases(self) -> list[Stages]:
        """Return a case for each request, in their order; the unlearning runs first where they share it."""
        if self.given is None:
            return [self.together]
        plain = replace(self.options, method=None, hyperparameters=None, choose=None)
        return [self._stages(request, plain, self.given) for request in self.requests]

    def unlearn(self) -> None:
        """Unlearn, unless that was done; a single request's case is judged with it, and may try further options."""
        if self.given is None and not self.together.finished:
            self._choose()
            _ = self.together.outcomes

    def finish(self) -> None:
        """Judge, certify and report every case that comes to a verdict; none is closed."""
        self.unlearn()
        nameless = [stages.folder for stages in self.cases if stages.case in self.rejected]
        if self.given is not None:
            nameless.append(self.together.folder)
        for folder in nameless:  # there is no case of its own that would close
            remove_names(folder, self._place)

    def close(self) -> list[Case]:
        """Finish every case, erase what was measured on the rows of those that succeeded, and return them.

        All are judged before the first is closed, since nothing is known of rows that are erased.

        Returns:
            The cases that came to a verdict, in the order of the requests; ``rejected`` has the others.

        Raises:
            NoVerdictError: if none did.
        """
        self.finish()
        judged = [stages for stages in self.cases if stages.case not in self.rejected]
        if not judged:
            raise NoVerdictError("; ".join(sorted(set(self.rejected.values()))))
        return close([stages.end() for stages in judged], self._oracle, self._pool, self._place)

    def _unlearned(self) -> Given:
        stages, failures = self.together, []
        self._choose()
        _ = stages.declared
        for option, hyperparameters, folder in stages.tries():
            outcome = unlearn(stages.setting, option, hyperparameters, folder)
            if not outcome.failures and outcome.weights is not None:
                return shared(outcome, folder, stages.retained)
            failures.append(f"{option.method}: {'; '.join(outcome.failures)}")
        raise UsageError(f"no option is enough for these requests together; the last one: {failures[-1]}")

    def _choose(self) -> None:
        if self._method is not None and not self.together.begun:
            self.together.choose(self._method)

    def _pool(self) -> References | None:
        """Return the pool, opened once for all cases."""
        if self._opened is None:
            self._opened = self._references() if callable(self._references) else self._references
        return self._opened

    def _stages(self, request: ErasureRequest, options: CaseOptions, given: Given | None = None) -> Stages:
        return Stages(self._oracle, request, self._pool, self._place, options, self._watch, self._progress, given)


def fits(first: ErasureRequest, other: ErasureRequest) -> bool:
    """Return whether two requests can be answered by one run: near copies go for both or for neither."""
    return first.also_near == other.also_near


def united(requests: Sequence[ErasureRequest]) -> ErasureRequest:
    """Return one request for the rows of several: the strongest guarantee, the earliest due date, the least budget.

    Args:
        requests: one or more, any two of which fit.

    Returns:
        The request; a single one as it is.

    Raises:
        UsageError: if two of them do not fit.
    """
    first, *others = requests
    if not others:
        return first
    if not all(fits(first, other) for other in others):
        raise UsageError("requests with near copies and without cannot share a run; answer them one after the other")
    where = [f"({request.where})" for request in requests if request.where]
    reasons = dict.fromkeys(request.reason for request in requests)
    return ErasureRequest(
        subjects=sorted({name for request in requests for name in request.subjects}),
        rows=sorted({row for request in requests for row in request.rows}),
        classes=sorted({label for request in requests for label in request.classes}),
        where=" OR ".join(dict.fromkeys(where)) or None,
        guarantee=min((request.guarantee for request in requests), key=_rank),
        reason=reasons.popitem()[0] if len(reasons) == 1 else "several",
        budget=min((request.budget for request in requests if request.budget is not None), default=None),
        due=min((request.due for request in requests if request.due is not None), default=None),
        also_near=first.also_near,
    )


def _rank(guarantee: Guarantee | str) -> int:
    return -Guarantee(guarantee).strength
