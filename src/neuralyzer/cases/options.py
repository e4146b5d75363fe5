"""``CaseOptions``: the options of a case besides the request itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from neuralyzer.ledger.log import Ledger
from neuralyzer.models.placement import as_device
from neuralyzer.planning.plan import Plan
from neuralyzer.references.training import exact
from neuralyzer.registry.manifests import DatasetVersion
from neuralyzer.unlearning.cost import Rates


@dataclass(frozen=True)
class CaseOptions:
    """The options of a case besides the request itself.

    Attributes:
        method: name of the algorithm, in place of the plan's choice.
        hyperparameters: of that algorithm.
        seed: of the algorithms' random draws.
        rates: seconds of each kind of work; timed where None.
        retrain_seconds: of one retraining, if it was measured.
        folder: where acceptance tests run.
        exact_references: number of models trained on exactly the retain set for the verdict, once the weights are
            final; 0 for the pool. They cost more than one retraining.
        choose: called with the plan to choose the method, in place of ``method``; its answer is kept with the plan.
        device: where a retraining and exact references are trained; by default the GPU if there is one.
        also: further tables that are searched for the rows, as ``registry.tables.table`` reads them.
        timed_budget: whether the request's budget was computed from a timing. It is then no part of the case's id, and
            a resumed case keeps the budget that it began with.
        show_answers: whether sample answers of a language model are kept in words, in result and report; else only how
            near they are to what was taught. Of a case that is finished nothing is added.
        retrained: a model that was really trained without the rows, asked for sample answers alone.
        ledger: gets the verdict, which the certificate then proves to be there; None without a ledger.
        named: names of the ``organisation``, the ``model`` and the ``data`` in the report.
    """

    method: str | None = None
    hyperparameters: Mapping[str, Any] | None = None
    seed: int = 0
    rates: Rates | None = None
    retrain_seconds: float | None = None
    folder: Path | None = None
    exact_references: int = 0
    device: str | None = None
    choose: Callable[[Plan], str] | None = field(default=None, compare=False)
    also: Sequence[DatasetVersion] = field(default=(), compare=False)
    timed_budget: bool = False
    show_answers: bool = field(default=False, compare=False)
    retrained: nn.Module | None = field(default=None, compare=False)
    ledger: Ledger | None = field(default=None, compare=False)
    named: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        as_device(self.device)
        if self.exact_references:
            exact.require_enough(self.exact_references)
