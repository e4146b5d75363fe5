"""What an unlearning algorithm is."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from torch import nn

from neuralyzer.data.request import Guarantee
from neuralyzer.errors import UsageError
from neuralyzer.models.kinds.kind import OF_OBJECTIVES, Capability
from neuralyzer.progress import Progress, Silent
from neuralyzer.unlearning import replay
from neuralyzer.unlearning.task import Task


class Need(StrEnum):
    """What an algorithm cannot do without."""

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
        gradients: rows whose gradient is taken in large chunks.
        singles: rows of whose losses each is differentiated by itself.
        products: rows times products with the curvature.
        solves: steps of a linear solve: what a product takes of however few rows, and those with the factors.
        factorings: makings of the curvature's factors.
        forwards: rows read in large chunks.
        readings: readings of the tuning split's trace.
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
        return Passes(*(own + more for own, more in zip(astuple(self), astuple(other), strict=True)))

    def __mul__(self, times: float) -> "Passes":
        return Passes(*(own * times for own in astuple(self)))


@dataclass(frozen=True)
class Range:
    """What a hyperparameter may be when it is searched.

    Attributes:
        low: smallest value.
        high: largest value.
        whole: whether only whole numbers will do.
        even: whether it is drawn evenly; else evenly in its logarithm.
    """

    low: float
    high: float
    whole: bool = False
    even: bool = False


@dataclass(frozen=True)
class Expectation:
    """What an algorithm left behind and cost where it was measured (docs/methods.md says where).

    Attributes:
        trace: of the family that shows most, as the mean over subjects, 1.0 = 100 %.
        utility_loss: against references that never saw the rows, in the objective's unit; negative where it is better.
    """

    trace: float
    utility_loss: float


class Method(Protocol):
    """An unlearning algorithm: a frozen dataclass of its hyperparameters with one ``unlearn``.

    Attributes:
        name: as on the command line.
        summary: one line for the table of methods.
        paper: where it comes from.
        guarantee: what its class of algorithms promises.
        needs: what it cannot do without, of the request and of the kind of model.
        expected: what it was measured to leave and cost.
        repaired: whether ``repair`` follows it.

    It may have more: ``anytime``, whether it does less where time is limited; ``for_comparison``, whether it left most of
    the trace wherever it was measured, so that no plan tries it; ``obstacle(task)``, why it cannot work on a task (a
    sentence) or None; ``space``, a ``Range`` for each hyperparameter that the shared search sets (``search``); and
    ``states(task, progress)``, the models after each of its ``epochs`` passes, of which the search may take any.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str]
    guarantee: ClassVar[Guarantee]
    needs: ClassVar[frozenset[Need | Capability]]
    expected: ClassVar[Expectation]
    repaired: ClassVar[bool]

    def passes(self, task: Task) -> Passes:
        """How much work it will be."""

    def unlearn(self, task: Task, progress: Progress | None = None) -> nn.Module:
        """A new module that forgot the task's forget rows; the task's own is never changed."""


def space(method: Method | type[Method]) -> Mapping[str, Range]:
    """What the shared search may set; empty where the method has nothing to set or sets it itself."""
    return getattr(method, "space", {})


def anytime(method: Method) -> bool:
    """Return whether the method does less where time is limited."""
    if hasattr(method, "hurries"):
        warnings.warn(f"{method.name}: hurries is now called anytime", DeprecationWarning, stacklevel=2)
        return bool(method.hurries)
    return getattr(method, "anytime", False)


def for_comparison(method: Method | type[Method]) -> bool:
    """Return whether the method left most of the trace wherever it was measured: no plan tries it."""
    return getattr(method, "for_comparison", False)


def obstacle(method: Method, task: Task) -> str | None:
    """Why the method cannot work on this task; None where it can."""
    missing = {need for need in method.needs if isinstance(need, Capability)} - task.capabilities
    if of_kind := sorted(missing - OF_OBJECTIVES):
        return f"needs {' and '.join(of_kind)}, which a {task.oracle.recipe.kind.name} does not have"
    if missing:
        return f"needs {' and '.join(sorted(missing))}, which the objective {task.objective.name!r} does not have"
    if Need.REFERENCES in method.needs and (wrong := missing_target(task)) is not None:
        return wrong
    if Need.CLASSES in method.needs and not task.objective.counted:
        return f"{method.name} works on classes, and this model predicts real numbers"
    if Need.CHECKPOINTS in method.needs and (wrong := replay.obstacle(task)) is not None:
        return wrong
    own: Callable[[Task], str | None] | None = getattr(method, "obstacle", None)
    return None if own is None else own(task)


def missing_target(task: Task) -> str | None:
    """Why references give nothing to aim at; None where they do."""
    if task.references is None:
        return "there are no references to aim at"
    return None if task.traceable else "no signal of the references reads these rows, so there is nothing to aim at"


def require_possible(method: Any, task: Task) -> None:
    """Refuse a task that a method's own ``obstacle`` speaks against.

    Raises:
        UsageError: in one line.
    """
    wrong = method.obstacle(task)
    if wrong is not None:
        raise UsageError(f"{method.name} is not possible: {wrong}")


def gradual(method: Any) -> bool:
    """Whether each of the method's passes leaves a model that may be taken."""
    return hasattr(method, "states")


def states(method: Any, task: Task) -> Iterator[nn.Module]:
    """The models that a method leaves: after each pass where it is gradual, else the one."""
    if gradual(method):
        yield from method.states(task, Silent())
    else:
        yield method.unlearn(task, Silent())
