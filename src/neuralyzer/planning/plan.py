"""The plan: every algorithm as an option, which are feasible, which is chosen and why."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from neuralyzer.data.request import ErasureRequest, Guarantee
from neuralyzer.errors import UsageError
from neuralyzer.methods import catalogue
from neuralyzer.models.trained import TrainedModel
from neuralyzer.planning.options import Option, predict
from neuralyzer.planning.track_record import Record, Situation
from neuralyzer.references.pool import References
from neuralyzer.unlearning.cost import Rates, probe
from neuralyzer.unlearning.method import obstacle, space
from neuralyzer.unlearning.task import Task
from neuralyzer.workspace.policy import Policy


@dataclass(frozen=True)
class Plan:
    """All options, with the chosen one first.

    Attributes:
        options: every algorithm.
        budget: seconds that the first choice may take; None without a limit.
        note: remark on the choice.
        members_utility: utility on the holdout that the tuning members predict; None without references.
        answerable: why the references cannot answer this request; None where they can.
        situation: of the request, by which later plans compare it.
    """

    options: tuple[Option, ...]
    budget: float | None
    note: str
    members_utility: float | None
    answerable: str | None
    situation: Situation | None = None

    @property
    def chosen(self) -> Option:
        """Return the option that is tried first."""
        return next(option for option in self.options if option.chosen)

    @property
    def order(self) -> list[Option]:
        """Return the chosen option and those that follow if it fails, down to retraining.

        The budget binds the first choice alone. An option that the budget would stop comes a second time without it,
        which often takes a fraction of retraining.
        """
        rest = [o for o in self.options if not o.chosen and (o.feasible or o.guarantee is Guarantee.EXACT)]
        possible = [o for o in rest if o.seconds is not None or o.method == "retrain"]
        again = [replace(self.chosen, chosen=False, hurried=False)] if self.chosen.hurried else []
        return [self.chosen, *again, *sorted(possible, key=lambda o: (o.method == "retrain", _rank(o)))]

    def chosen_by_person(self, method: str) -> "Plan":
        """Return this plan with another choice, and in its note what that costs.

        Args:
            method: one of the options.

        Returns:
            The plan; its options in the same order.
        """
        before, after = self.chosen, next(option for option in self.options if option.method == method)
        if after is before:
            return self
        note = f"{method} was chosen by the person, not by the plan, which would have taken {before.method}"
        note += f" ({_cost(before)}); {method}: {_cost(after)}"
        note += "" if after.feasible else f"; the plan would not have: {after.reason}"
        options = tuple(replace(option, chosen=option is after) for option in self.options)
        return replace(self, options=options, note=note)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values."""
        return {
            "options": [option.to_dict() for option in self.options],
            "budget": self.budget,
            "note": self.note,
            "members_utility": self.members_utility,
            "answerable": self.answerable,
            "situation": None if self.situation is None else self.situation.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Plan":
        """Return the plan that ``to_dict`` wrote down."""
        options = tuple(Option(**o | {"guarantee": Guarantee(o["guarantee"])}) for o in values["options"])
        known = values.get("situation")
        situation = None if known is None else Situation(**known)
        return cls(
            options, values["budget"], values["note"], values["members_utility"], values["answerable"], situation
        )

    def __rich__(self) -> RenderableType:
        return self.view()

    def view(self, every: bool = False) -> RenderableType:
        """Return the options as a table: those that are feasible, or every one."""
        shown = [o for o in self.options if every or o.feasible or o.chosen] or list(self.options)
        rest = len(self.options) - len(shown)
        more = f"{rest} more options are not feasible here: neuralyzer plan --all says why" if rest else ""
        note = "\n".join(part for part in (self.note, more) if part)
        table = RichTable(title="options", title_justify="left", caption=note, caption_justify="left")
        for name, side in (("method", "left"), ("guarantee", "left"), ("seconds", "right"), ("trace left", "right"),
                           ("utility", "right"), ("why", "left")):  # fmt: skip
            table.add_column(name, justify=side)  # type: ignore[arg-type]
        for o in shown:
            style = "bold bright_green" if o.chosen else ("" if o.feasible else "bright_black")
            cells = (
                ("> " if o.chosen else "  ") + o.method, str(o.guarantee),
                "?" if o.seconds is None else f"{o.seconds:.2f}", f"{100 * o.trace:.0f} %",
                "-" if o.utility is None else f"{o.utility:.4f}", o.reason,
            )  # fmt: skip
            table.add_row(*(Text(cell, style=style) for cell in cells))
        return table


def plan(
    oracle: TrainedModel,
    request: ErasureRequest,
    references: References | None = None,
    policy: Policy | None = None,
    record: Record | None = None,
    doubt: str | None = None,
) -> Plan:
    """Return every algorithm as an option for a request, and the one that is chosen.

    Args:
        oracle: the model.
        request: names the rows, the guarantee and the budget in seconds.
        references: the model's pool; the plan sees its tuning split alone.
        policy: error rate and largest loss of utility.
        record: of earlier runs; by default the one that ships with the package.
        doubt: why the references give no statistical verdict, such as a control that failed.

    Returns:
        The plan.
    """
    policy = policy or Policy()
    task = Task(oracle, request, references, policy.alpha)
    return make_plan(task, policy.max_utility_loss, record=record, doubt=doubt)


def make_plan(
    task: Task,
    max_utility_loss: float | None = None,
    method: str | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    rates: Rates | None = None,
    record: Record | None = None,
    doubt: str | None = None,
) -> Plan:
    """Predict every option and choose.

    Args:
        task: the request, with the tuning split.
        max_utility_loss: largest loss of holdout utility compared with what the tuning members predict; by default the
            objective's.
        method: chosen by the user in place of the plan's choice.
        hyperparameters: of that method.
        rates: seconds of each kind of work; timed here by default.
        record: of earlier runs; by default the one that ships with the package.
        doubt: why the references give no statistical verdict; the options' reasons say so.

    Returns:
        The plan.

    Raises:
        UsageError: if the user's choice cannot work on this task.
    """
    rates = rates or probe(task)
    limit = task.objective.max_utility_loss if max_utility_loss is None else max_utility_loss
    members = task.predicted_utility
    answerable = None
    if task.traceable:
        answerable = task.estimator.obstacle
    named = () if method is None else (method,)  # it may be a composition of methods, which the catalogue does not list
    methods = {
        name: catalogue.make(name, **((hyperparameters or {}) if name == method else {}))
        for name in dict.fromkeys([*catalogue.names(), *named])
    }
    record, situation = record or Record.shipped(), Situation.of(task)
    options = [
        predict(
            one, task, rates, members, limit, answerable, record, situation,
            searched=bool(space(one)) and task.traceable and not (name == method and hyperparameters), doubt=doubt,
        )
        for name, one in methods.items()
    ]  # fmt: skip
    if method is not None:
        impossible = obstacle(methods[method], task)
        if impossible is not None:
            raise UsageError(f"method {method} cannot be used: {impossible}")
        by_user = next(option for option in options if option.method == method)
    best, note = _choice(options, task.request.budget)
    first = best if method is None else by_user
    ordered = sorted(options, key=lambda o: (o is not first, not o.feasible, _rank(o)))
    chosen = tuple(replace(o, chosen=o is best) for o in ordered)
    plan = Plan(chosen, task.request.budget, note, members, answerable, situation)
    return plan if method is None else plan.chosen_by_person(method)


def _cost(option: Option) -> str:
    takes = "nobody knows how long it takes" if option.seconds is None else f"{option.seconds:.2f} s"
    return f"{takes}, {100 * option.trace:.0f} % of the trace left"


def _rank(option: Option) -> tuple[bool, float, float]:
    """Return the rank of an option: exact ones first, then by expected trace, then by seconds."""
    seconds = math.inf if option.seconds is None else option.seconds
    return (option.guarantee is not Guarantee.EXACT, option.trace, seconds)


def _choice(options: Sequence[Option], budget: float | None) -> tuple[Option, str]:
    """Return the best feasible option, or retraining, and why."""
    feasible = sorted((option for option in options if option.feasible), key=_rank)
    retrain = next(option for option in options if option.method == "retrain")
    if not feasible:
        limit = "" if budget is None else f" within {budget:.2f} s"
        return retrain, f"no option satisfies guarantee and policy{limit}; retraining is what remains"
    best = feasible[0]
    others = [option.seconds for option in feasible if option is not retrain and option.seconds is not None]
    if best is retrain and best.seconds is not None and others and best.seconds <= min(others):
        return best, "retraining is cheaper than every other option that would do"
    if best.guarantee is Guarantee.EXACT:
        return best, f"time allows an exact option, so {best.method} is taken"
    return best, f"{best.method}: the least expected trace that guarantee, budget and policy allow"
