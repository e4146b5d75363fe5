"""The stages of one case: each runs once, its result is written before the next begins, and read back afterwards."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from neuralyzer.cases import outcome
from neuralyzer.cases.attempt import Outcome, attempt
from neuralyzer.cases.case import Case
from neuralyzer.cases.closing import EXACT_FOLDER, Ended, References_, close, finish
from neuralyzer.cases.folder import Folder
from neuralyzer.cases.identity import case_of
from neuralyzer.cases.listener import CaseListener
from neuralyzer.cases.options import CaseOptions
from neuralyzer.cases.setting import Given, Setting
from neuralyzer.certificates.statement import ProtocolRecord
from neuralyzer.data.request import ErasureRequest
from neuralyzer.errors import NoVerdictError, UsageError
from neuralyzer.ledger.events import Event
from neuralyzer.ledger.events import Facts as Told
from neuralyzer.ledger.subject_keys import names_in
from neuralyzer.methods import catalogue
from neuralyzer.models import weights
from neuralyzer.models.placement import Placement
from neuralyzer.models.trained import TrainedModel
from neuralyzer.planning.options import Option
from neuralyzer.planning.plan import Plan, make_plan
from neuralyzer.planning.track_record import Record
from neuralyzer.progress import Progress, Silent
from neuralyzer.references.pool import References
from neuralyzer.references.training import exact
from neuralyzer.registry.locate import GIVEN, locate
from neuralyzer.registry.location import Base
from neuralyzer.registry.trained_on import base_saw
from neuralyzer.unlearning.task import Task
from neuralyzer.verification.audit import Audit, audit
from neuralyzer.verification.controls import Controls
from neuralyzer.workspace import digests
from neuralyzer.workspace.moments import now
from neuralyzer.workspace.paths import Workspace


class Stages:
    """The stages of a case. Asking for one runs those before it; one that is finished is read from the case's folder.

    So a case can stop anywhere, for a person's approval as well as by a kill, and goes on in another process.

    Args:
        oracle: the model.
        request: of the case.
        references: the model's pool, or a function that returns it; it is not opened for a finished case.
        place: has the policy and keeps the case.
        options: of the case.
        watch: receives each stage's result.
        progress: shows the work.
        given: weights that an unlearning run for several requests made; None where this case unlearns itself.
    """

    def __init__(
        self,
        oracle: TrainedModel,
        request: ErasureRequest,
        references: References_,
        place: Workspace,
        options: CaseOptions,
        watch: CaseListener | None = None,
        progress: Progress | None = None,
        given: Given | None = None,
    ) -> None:
        self.oracle, self.place, self.options, self.given = oracle, place, options, given
        self._asked, self._references = request, references
        self._watch, self._progress = watch or Silent(), progress or Silent()
        self._began = time.perf_counter()
        self.positions = request.positions(oracle.data)
        self.case = case_of(place, oracle, request, options, None if given is None else given.digest)
        self.folder = Folder(place.cases / self.case)

    @property
    def finished(self) -> bool:
        """Return whether the case has its verdict, certificate and report."""
        return self.folder.has("result")

    @property
    def begun(self) -> bool:
        """Return whether unlearning has begun, after which the plan stays as it is."""
        return self.folder.has("protocol")

    @cached_property
    def pool(self) -> References | None:
        """Return the model's pool; None where there is none.

        A wrong method is refused before, since what follows takes time.

        Raises:
            UsageError: if the method or its hyperparameters are wrong, or exact references are asked for without a pool.
        """
        if self.options.method is not None:
            catalogue.make(self.options.method, **(self.options.hyperparameters or {}))
        pool = self._references() if callable(self._references) else self._references
        if self.options.exact_references and pool is None:
            raise UsageError(exact.NO_POOL)
        return pool

    @cached_property
    def received(self) -> dict[str, Any]:
        """Return the request as it is written down, with its dates."""
        _ = self.pool
        asked, opened = self._asked, now()
        first = {"request": asked.to_dict(), "received": asked.received or opened, "opened": opened}
        kept = dict(self.folder.stage("request", lambda: first, lambda r: r, lambda r: r))
        if self.options.ledger is not None:
            self.options.ledger.begin(self.case, names_in(asked))
        self._tell(Event.RECEIVED, received=kept["received"][:10], due=asked.due)
        return kept

    @cached_property
    def request(self) -> ErasureRequest:
        """Return the request; a budget by timing is the one that the case began with."""
        if not self.options.timed_budget:
            return self._asked
        return replace(self._asked, budget=self.received["request"]["budget"])

    @cached_property
    def location(self) -> dict[str, Any]:
        """Return where the rows were found."""
        _ = self.received
        found = self.folder.stage("located", self._locate, lambda values: values, lambda values: values)
        self._tell(Event.LOCATED)
        self._watch.stage("located", found)
        return dict(found)

    @cached_property
    def audited(self) -> Audit:
        """Return what the original remembers of the rows."""
        _ = self.location
        found = self.folder.stage(
            "audit",
            lambda: audit(self.oracle, self.request, self.pool, self.place.policy),
            Audit.to_dict,
            Audit.from_dict,
        )
        self._tell(Event.AUDITED, verdict=found.verdict)
        self._watch.stage("audit", found)
        return found

    @cached_property
    def task(self) -> Task:
        """Return the task for the algorithms."""
        return Task(
            self.oracle, self.request, self.pool, self.place.policy.alpha, self.options.seed,
            Placement.of(self.options.device),
        )  # fmt: skip

    @cached_property
    def planned(self) -> Plan:
        """Return the plan, with the person's choice if one was made."""
        _ = self.audited
        found = self.folder.stage("plan", self._plan, Plan.to_dict, Plan.from_dict)
        self._tell(Event.PLANNED)
        self._watch.stage("plan", found)
        return found

    def choose(self, method: str) -> Plan:
        """Take another of the plan's options, by a person's choice.

        Args:
            method: name of the option.

        Returns:
            The plan as it is now kept.

        Raises:
            UsageError: if the plan has no such option, or unlearning has begun.
        """
        plan = self.planned
        if method not in {option.method for option in plan.options}:
            raise UsageError(f"the plan of {self.case} has no option {method!r}; see 'neuralyzer plan --all'")
        if self.begun:
            raise UsageError(f"{self.case} has begun to unlearn; another option can no longer be chosen")
        plan = plan.chosen_by_person(method)
        self.folder.write("plan", plan.to_dict())
        self.__dict__["planned"] = plan
        return plan

    @cached_property
    def declared(self) -> ProtocolRecord:
        """Return the protocol of the verification, which is written down before unlearning."""
        _ = self.planned
        return self.folder.stage("protocol", self._declare, lambda p: p.model_dump(), lambda p: ProtocolRecord(**p))

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """Return the attempts: the plan's options in order, until one is enough."""
        _ = self.declared
        outcomes: list[Outcome] = []
        for option, hyperparameters, folder in self.tries():
            if any(before.method == option.method and before.weights is None for before in outcomes):
                continue  # it crashed within the budget and would crash again without
            outcomes.append(attempt(self.setting, option, hyperparameters, folder))
            self._watch.stage("attempt", outcomes[-1])
            if not outcomes[-1].failures or self.given is not None:
                break
        if all(tried.verification is None for tried in outcomes):
            raise NoVerdictError(f"no option came to a verdict; the last one: {outcomes[-1].failures[0]}")
        final = outcome.final(outcomes)
        if self.options.ledger is not None and final.weights is not None:
            made = digests.of_file(final.weights)
            self._tell(Event.UNLEARNED, method=final.method, weights=made, before=self.oracle.digest)
        return outcomes

    def tries(self) -> Iterator[tuple[Option, Mapping[str, Any], Folder]]:
        """Yield the plan's options in order, each with its hyperparameters and the folder of its attempt."""
        for number, option in enumerate(self.planned.order):
            own = self.options.hyperparameters if option.method == self.options.method else None
            yield option, own or {}, Folder(self.folder.root / "attempts" / f"{number}-{option.method}")

    @cached_property
    def facts(self) -> outcome.Facts:
        """Return everything that certificate and report are made of."""
        outcomes = self.outcomes
        done = self.folder.stage("answered", now, lambda moment: {"done": moment}, lambda known: str(known["done"]))
        return outcome.Facts(
            self.case, self.oracle, self.task, self.pool, self.place, self.planned, self.audited, outcomes,
            self.location, self.received, self.options, done, self.retained, self._began,
        )  # fmt: skip

    @property
    def retained(self) -> str | None:
        """Return the digest of the rows that are left; None of an earlier Neuralyzer's run for several requests."""
        if self.given is not None:
            return self.given.retained
        return self.task.retain.digest

    def finish(self) -> None:
        """Certify, report and write the result, unless that was done."""
        if not self.finished:
            finish(self.folder, self.facts, self.declared, self._watch)
            self._tell(Event.CERTIFIED, certificate=digests.of_file(self.folder.path("certificate.json")))

    def end(self) -> Ended:
        """Finish the case and return what is needed to close it."""
        self.finish()
        return Ended(self.case, self.folder, self.positions)

    def close(self) -> Case:
        """Finish the case, erase what was measured on its rows if it succeeded, and return it."""
        ended = self.end()
        return close([ended], self.oracle, self.__dict__.get("pool", self._references), self.place)[0]

    @cached_property
    def setting(self) -> Setting:
        """Return the common arguments of every attempt."""
        plan, base = self.planned, self.oracle.recipe.base
        known = base_saw((Base(**one) for one in self.location.get("bases", ())), base)
        return Setting(
            self.task, self.pool, self.audited.protocol, self.place.policy, plan.members_utility, plan.answerable,
            self.options.folder, self._progress, self.options.exact_references, self.folder.root / EXACT_FOLDER,
            known, self.given,
        )  # fmt: skip

    def _tell(self, event: Event, **facts: Any) -> None:
        """Record an event in the ledger, if there is one; a stage that is read back is not recorded twice."""
        if self.options.ledger is not None:
            self.options.ledger.record(event, self.case, Told(**facts))

    def _locate(self) -> dict[str, Any]:
        identities = dict.fromkeys([*weights.identities(self.oracle.model), self.oracle.lineage])
        return locate(
            self.request, self.place, self.oracle.data, weights=list(identities), base=self.oracle.recipe.bases,
            also=self.options.also, name=self.options.named.get("data", GIVEN),
        ).to_dict()  # fmt: skip

    def _plan(self) -> Plan:
        options, audited = self.options, self.audited
        record, limit = Record.shipped().with_cases(self.place.cases), self.place.policy.max_utility_loss
        doubt = Controls(audited.self_check, audited.positive_control).reason
        method = options.method if self.given is None else self.given.method
        plan = make_plan(self.task, limit, method, options.hyperparameters, options.rates, record, doubt)
        return plan if options.choose is None else plan.chosen_by_person(options.choose(plan))

    def _declare(self) -> ProtocolRecord:
        protocol = self.audited.protocol
        return ProtocolRecord.declare(
            signals=list(protocol.signals), counting=list(protocol.counting), alpha=protocol.alpha,
            max_trace=protocol.max_trace, references=protocol.references, declared_at=now(),
        )  # fmt: skip
