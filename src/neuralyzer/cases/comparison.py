"""The comparison of a certificate with what the case gives when it is run again."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from neuralyzer.cases.certificate import code_digest, versions
from neuralyzer.certificates.statement import Predicate

# What is compared: the parts of a certificate that say what was done and found, without dates, names and places.
PARTS: dict[str, frozenset[str]] = {
    "weights": frozenset({"unlearned", "tensors", "base"}),
    "verification": frozenset(),
    "protocol": frozenset({"signals", "counting", "alpha", "max_trace", "references"}),
    "utility": frozenset(),
    "training": frozenset({"retained"}),
    "method": frozenset({"name", "guarantee", "basis", "hyperparameters", "seed", "escalated_from"}),
}
UNREAD = {"verification": frozenset({"verdict", "basis"}), "protocol": frozenset[str]({"alpha", "max_trace"})}


class Conclusion(StrEnum):
    """What a comparison comes to."""

    REPRODUCED = "reproduced"
    DIFFERS = "differs"
    CANNOT = "cannot be run again"


@dataclass(frozen=True)
class Difference:
    """A value that is not the certified one; ``what`` is its path in the certificate."""

    what: str
    certified: Any
    found: Any

    def __str__(self) -> str:
        """Return it in one line."""
        return f"{self.what}: {self.found}, certified is {self.certified}"


@dataclass(frozen=True)
class Reproduction:
    """A certificate compared with its case run again.

    Attributes:
        case: id of the case.
        outcome: of the comparison.
        weights: whether they are equal bit by bit; None where they could not be made again.
        verdict: the verdict that was found again; None where it could not be.
        differences: values that are not the certified ones.
        reasons: why the case, or a part of it, could not be run again.
        environment: what computes otherwise than when the case was run.
    """

    case: str
    outcome: Conclusion
    weights: bool | None = None
    verdict: str | None = None
    differences: Sequence[Difference] = ()
    reasons: Sequence[str] = ()
    environment: Sequence[str] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self) | {"outcome": str(self.outcome)}

    def __str__(self) -> str:
        """Return it in lines."""
        lines = [f"{self.case}: {self.outcome}"]
        if self.weights is not None:
            lines.append(f"weights      {'equal bit by bit' if self.weights else 'not the certified ones'}")
        if self.verdict is not None:
            lines.append(f"verdict      {self.verdict}")
        lines += [f"differs      {difference}" for difference in self.differences]
        lines += [f"why not      {reason}" for reason in self.reasons]
        lines += [f"environment  {line}" for line in self.environment]
        return "\n".join(lines)


def differences(certified: Predicate, again: Predicate, read: bool = True) -> list[Difference]:
    """Return the values in which two certificates of one case differ.

    Attempts before the final one are compared as far as they were run again.

    Args:
        certified: by the operator.
        again: by running the case again.
        read: whether there were references, without which no number of a signal is measured.

    Returns:
        The differences; numbers are compared bit by bit.
    """
    parts = PARTS if read else PARTS | UNREAD
    if certified.training is None:  # an older record
        parts = {name: keys for name, keys in parts.items() if name != "training"}
    one, other = (_compared(predicate, parts) for predicate in (certified, again))
    for name in set(one) - set(other):
        if name.startswith("method.escalated_from."):  # a crash, or an attempt that the team's tests failed
            del one[name]
    return between(one, other)


def between(certified: Mapping[str, Any], found: Mapping[str, Any]) -> list[Difference]:
    """Return the entries in which two tables differ; None stands for one that is missing."""
    names = dict.fromkeys([*certified, *found])
    pairs = ((name, certified.get(name), found.get(name)) for name in names)
    return [Difference(name, one, other) for name, one, other in pairs if one != other]


def flat(values: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield each value of a nested document with its path; families are named by their signals, texts by themselves."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from flat(value, f"{path}.{name}")
    elif isinstance(values, list):
        for number, value in enumerate(values):
            name = value["signal"] if isinstance(value, Mapping) and "signal" in value else number
            yield from flat(value, f"{path}.{value if isinstance(value, str) else name}")
    else:
        yield path, values


def environment(certified: Predicate, threads: int) -> list[str]:
    """Return in what this machine's software differs from what a certificate was made with.

    Args:
        certified: content of the certificate.
        threads: with which the case is run again.

    Returns:
        A line for each difference; weights may then differ in their last bits.
    """
    method, now = certified.method, versions()
    pairs = ((name, method.versions.get(name), now.get(name)) for name in dict.fromkeys([*method.versions, *now]))
    lines = [
        f"{name} {new or 'is not installed'}, then {old or 'not installed'}" for name, old, new in pairs if old != new
    ]
    if method.code_digest != code_digest():
        lines.append("the code of Neuralyzer is not the same")
    if method.threads is None:
        lines.append(f"{threads} threads; the certificate does not say how many there were")
    elif method.threads != threads:
        lines.append(f"{threads} threads, then {method.threads}")
    return lines


def _compared(predicate: Predicate, parts: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    content = predicate.model_dump(mode="json")
    return dict(
        entry
        for name, keys in parts.items()
        for key, value in (content[name] or {}).items()
        if not keys or key in keys
        for entry in flat(value, f"{name}.{key}")
    )
