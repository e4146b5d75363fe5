"""The protocol of an unlearning algorithm, with its needs, its work and its expected result."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import nn

from neuralyzer import _moved
from neuralyzer.data.request import Guarantee
from neuralyzer.errors import UsageError
from neuralyzer.influence import kept
from neuralyzer.models.capabilities import OF_OBJECTIVES, Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import replay
from neuralyzer.unlearning.task import Task

if not TYPE_CHECKING:
    __getattr__ = _moved.old_names(__name__, {"hurries": f"{__name__}.anytime"})


class Need(StrEnum):
    """A part of a request or task that an algorithm requires."""

    RETAIN = "retained rows"
    FORGET = "forget rows"
    CHECKPOINTS = "checkpoints"
    REFERENCES = "references"
    CLASSES = "classes"


@dataclass(frozen=True)
class Passes:
    """The work of an algorithm, for the cost model.

    Attributes:
        steps: training steps of one batch each.
        partial: training steps where the last layer alone is trained.
        gradients: rows whose gradient is computed in large chunks.
        singles: rows whose gradients are computed one for each row.
        products: products with the curvature, times the rows of each.
        solves: steps of a linear solve, for the cost that does not depend on rows: overhead of a product, and products
            with the EKFAC factors.
        factorings: computations of the EKFAC factors, which are kept: two algorithms that need them take one.
        forwards: rows of forward passes in large chunks.
        readings: readings of the residual trace on the tuning split.
    """

    steps: float = 0
    partial: float = 0
    gradients: float = 0
    singles: float = 0
    products: float = 0
    solves: float = 0
    factorings: float = 0
    forwards: float = 0
    readings: float = 0

    def __add__(self, other: "Passes") -> "Passes":
        total = Passes(*(first + second for first, second in zip(astuple(self), astuple(other), strict=True)))
        return replace(total, factorings=max(self.factorings, other.factorings))

    def __mul__(self, times: float) -> "Passes":
        return Passes(*(work * times for work in astuple(self)))


@dataclass(frozen=True)
class Range:
    """The range in which a hyperparameter is searched.

    Attributes:
        low: smallest value.
        high: largest value.
        whole: whether values are whole numbers.
        even: whether values are drawn uniformly; else their logarithms are.
    """

    low: float
    high: float
    whole: bool = False
    even: bool = False


@dataclass(frozen=True)
class Expectation:
    """The residual trace and loss of utility that were measured for an algorithm (docs/methods.md says where).

    Attributes:
        trace: largest residual trace over families, mean over subjects; 1.0 is 100 %.
        utility_loss: against references that never saw the rows, in the objective's unit; negative where it is better.
    """

    trace: float
    utility_loss: float


class Method(Protocol):
    """An unlearning algorithm: a frozen dataclass of its hyperparameters with one ``unlearn``.

    Attributes:
        name: as on the command line.
        summary: one line for the table of methods.
        paper: the source.
        guarantee: of its class of algorithms.
        needs: requirements on the request and on the kind of model.
        expected: measured residual trace and loss of utility.
        repaired: whether ``repair`` follows it.

    These members are optional. ``anytime`` says whether it does less work where time is limited. ``for_comparison``
    says that it left most of the trace wherever it was measured, so that no plan tries it. ``obstacle(task)`` returns a
    sentence that says why it cannot work on a task, or None. ``space`` has a ``Range`` for each hyperparameter that the
    shared search sets (``search``). ``states(task, progress)`` yields the models after each of its ``epochs`` passes,
    of which the search may take any.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str]
    guarantee: ClassVar[Guarantee]
    needs: ClassVar[frozenset[Need | Capability]]
    expected: ClassVar[Expectation]
    repaired: ClassVar[bool]

    def passes(self, task: Task) -> Passes:
        """Return how much work it will be."""

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """Return a new module that forgot the task's forget rows; the task's model is never changed."""


def space(method: Method | type[Method]) -> Mapping[str, Range]:
    """Return the ranges of hyperparameters that the shared search sets; empty where there are none."""
    return getattr(method, "space", {})


def anytime(method: Method) -> bool:
    """Return whether the method does less work where time is limited."""
    if hasattr(method, "hurries"):
        _moved.warn(f"{type(method).__name__}.hurries", "anytime")
        return bool(method.hurries)
    return getattr(method, "anytime", False)


def for_comparison(method: Method | type[Method]) -> bool:
    """Return whether the method left most of the trace wherever it was measured: no plan tries it."""
    return getattr(method, "for_comparison", False)


def obstacle(method: Method, task: Task) -> str | None:
    """Return why the method cannot work on this task; None where it can."""
    missing = {need for need in method.needs if isinstance(need, Capability)} - task.capabilities
    if of_kind := sorted(missing - OF_OBJECTIVES):
        return f"needs {' and '.join(of_kind)}, which a {task.oracle.recipe.kind.name} does not have"
    if missing:
        return f"needs {' and '.join(sorted(missing))}, which the objective {task.objective.name!r} does not have"
    if Need.REFERENCES in method.needs and (reason := missing_target(task)) is not None:
        return reason
    if Need.CLASSES in method.needs and not task.objective.counted:
        return f"{method.name} works on classes, and this model predicts real numbers"
    if Need.CHECKPOINTS in method.needs and (reason := replay.obstacle(task)) is not None:
        return reason
    of_method: Callable[[Task], str | None] | None = getattr(method, "obstacle", None)
    return None if of_method is None else of_method(task)


def missing_target(task: Task) -> str | None:
    """Return why the references give no target; None where they give one."""
    if task.references is None:
        return "there are no references to aim at"
    return None if task.traceable else "no signal of the references reads these rows, so there is nothing to aim at"


def missing_factors(task: Task) -> str | None:
    """Return why the original's curvature has no factors; None where it has some."""
    return (
        None
        if kept.possible(task.oracle)
        else "no Linear or Conv2d layer of the model has a trained weight of its own to factor"
    )


def require_possible(method: Any, task: Task) -> None:
    """Refuse a task for which a method's ``obstacle`` gives a reason.

    Raises:
        UsageError: with the reason.
    """
    reason = method.obstacle(task)
    if reason is not None:
        raise UsageError(f"{method.name} is not possible: {reason}")


def gradual(method: Any) -> bool:
    """Return whether each of the method's passes leaves a model that may be taken as its result."""
    return hasattr(method, "states")


def states(method: Any, task: Task) -> Iterator[nn.Module]:
    """Run a method and yield its models: one after each pass where it is gradual, else one."""
    if gradual(method):
        yield from method.states(task, Silent())
    else:
        yield method.unlearn(task, Silent())
