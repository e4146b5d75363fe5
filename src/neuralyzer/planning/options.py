"""The options of a plan: the predicted seconds, trace and utility of each algorithm, and whether it is feasible."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from neuralyzer.data.request import Guarantee
from neuralyzer.models import reading
from neuralyzer.planning.track_record import Effort, Record, Situation
from neuralyzer.references.training.exact import EXACT_REFERENCES
from neuralyzer.unlearning import search
from neuralyzer.unlearning.cost import Rates
from neuralyzer.unlearning.method import Expectation, Method, anytime, for_comparison, obstacle
from neuralyzer.unlearning.repair import Repair
from neuralyzer.unlearning.task import Task

LARGEST_EXPECTED_TRACE = 0.25  # an option expected to leave more is infeasible: it would waste an access


@dataclass(frozen=True)
class Option:
    """One algorithm with its predictions for a request.

    Attributes:
        method: name of the algorithm.
        guarantee: of its class.
        seconds: predicted, tuning and repair included; None if unknown.
        trace: largest trace over the families that it is expected to leave; 1.0 = 100 %.
        utility: expected utility on the holdout; None without one.
        feasible: whether it satisfies guarantee, budget and policy.
        reason: why it is feasible or not, in a sentence.
        chosen: whether it is the chosen one.
        searched: whether its settings are searched on the tuning split.
        runs: number of runs in similar situations that the expectation is based on, as a sum of weights.
        hurried: whether the budget stops it before it has done all that it would.
    """

    method: str
    guarantee: Guarantee
    seconds: float | None
    trace: float
    utility: float | None
    feasible: bool
    reason: str
    chosen: bool = False
    searched: bool = False
    runs: float = 0.0
    hurried: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the option as plain values."""
        return asdict(self) | {"guarantee": str(self.guarantee)}


def predict(
    method: Method,
    task: Task,
    rates: Rates,
    members: float | None,
    limit: float,
    answerable: str | None,
    record: Record | None = None,
    situation: Situation | None = None,
    searched: bool = False,
    doubt: str | None = None,
) -> Option:
    """Return an algorithm as an option.

    Args:
        method: with its hyperparameters.
        task: the request.
        rates: seconds of each kind of work.
        members: mean utility of the tuning members on the holdout.
        limit: largest loss of utility compared with them.
        answerable: why the references cannot answer the request; None where they can.
        record: of earlier runs; without it the method's own expectation is taken.
        situation: of the request, for the record.
        searched: whether its settings will be searched.
        doubt: why these references give no statistical verdict; None where they do.

    Returns:
        The option, not chosen yet.
    """
    budget = task.request.budget
    impossible = obstacle(method, task)
    seconds, effort = (None, Effort.DEFAULT) if impossible is not None else _seconds(method, task, rates, searched)
    expected, runs = (method.expected, 0.0)
    if record is not None and situation is not None:
        expected, runs = record.expect(method, situation, effort)
    exact = method.guarantee is Guarantee.EXACT
    utility = _utility(expected, task, members)
    lost = None if exact or members is None or utility is None else task.objective.utility_loss(members, utility)
    reasons = [*_objections(method, task, impossible, seconds, expected, lost, limit)]
    feasible = not reasons
    if feasible:
        reasons += [_benefit(method, expected, seconds, budget), *([] if exact else _inconclusive(doubt, answerable))]
    return Option(
        method.name, method.guarantee, seconds, 0.0 if exact else expected.trace, utility, feasible, "; ".join(reasons),
        searched=searched, runs=runs, hurried=budget is not None and (effort is Effort.WITHIN or anytime(method)),
    )  # fmt: skip


def _objections(
    method: Method,
    task: Task,
    impossible: str | None,
    seconds: float | None,
    expected: Expectation,
    lost: float | None,
    limit: float,
) -> Iterator[str]:
    """Yield the reasons against an algorithm; none where it is feasible.

    Args:
        method: with its hyperparameters.
        task: the request.
        impossible: why it cannot work on this task; None where it can.
        seconds: that it is predicted to take; None where unknown.
        expected: its expected trace and loss of utility.
        lost: predicted loss of utility against the tuning members; None where unknown or of no interest.
        limit: largest such loss that is allowed.
    """
    budget, exact = task.request.budget, method.guarantee is Guarantee.EXACT
    if impossible is not None:
        yield impossible
    if not method.guarantee.satisfies(Guarantee(task.request.guarantee)):
        yield f"{method.guarantee} is weaker than the {task.request.guarantee} that was asked for"
    if impossible is None and budget is not None and seconds is None:
        yield "nobody knows how long its training takes"
    if impossible is None and budget is not None and seconds is not None and seconds > budget:
        yield f"over the budget of {budget:.2f} s"
    if for_comparison(method):
        yield "is there for comparison: it left most of the trace wherever it was measured"
    if not exact and expected.trace > LARGEST_EXPECTED_TRACE:
        yield f"is known to leave about {100 * expected.trace:.0f} % of the trace"
    if lost is not None and lost > limit:
        yield f"would cost {lost:.3f} of {task.objective.utility_name}, over the {limit:.3f} allowed"
    if not exact and task.references is None:
        yield "without references nothing but an exact option can be judged"


def _inconclusive(doubt: str | None, answerable: str | None) -> list[str]:
    """Return why a statistical verdict would be inconclusive; empty where it would not."""
    if doubt is not None:
        return [f"but it would end inconclusive: {doubt}"]
    if answerable is None:
        return []
    judged = f"{EXACT_REFERENCES} exact references would judge it, and retraining costs 1/{EXACT_REFERENCES} of them"
    return [f"but it would end inconclusive: {answerable}; {judged}"]


def _seconds(method: Method, task: Task, rates: Rates, searched: bool) -> tuple[float | None, Effort]:
    """Return the predicted seconds, repair included, and how far the search will get.

    If a search would exceed the budget but its first trial does not, the search is stopped when the budget is spent.
    This is not done if repair follows, for which no time would be left.

    Returns:
        Seconds, None if unknown; and the effort.
    """
    budget = math.inf if task.request.budget is None else task.request.budget
    repair = rates.seconds(Repair().passes(task)) if method.repaired else 0.0
    if not searched:
        return _known(rates.seconds(method.passes(task)) + repair), Effort.DEFAULT
    first, whole = (rates.seconds(search.passes(method, task, trials)) for trials in (1, search.TRIALS))
    if first <= budget < whole and not method.repaired:
        return budget, Effort.WITHIN
    return _known(whole + repair), Effort.TUNED


def _known(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None


def _utility(expected: Expectation, task: Task, members: float | None) -> float | None:
    """Return the utility that tuning members predict, less what the method is known to cost."""
    if members is None and task.oracle.holdout is not None:
        members = reading.utility(task.model, task.objective, task.oracle.holdout)
    if members is None:
        return None
    cost = expected.utility_loss
    return members - cost if task.objective.counted else members * (1 + cost)


def _benefit(method: Method, expected: Expectation, seconds: float | None, budget: float | None) -> str:
    takes = "" if seconds is None or budget is None else f", {100 * seconds / budget:.0f} % of the budget"
    if method.guarantee is Guarantee.EXACT:
        return f"the same distribution as retraining, by construction{takes}"
    return f"expected to leave {100 * expected.trace:.0f} % of the trace{takes}"
