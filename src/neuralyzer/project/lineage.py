"""The lineage of a project: its versions in the order in which they were released, and which one is in use."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from neuralyzer.errors import UsageError
from neuralyzer.workspace import atomic

FILE = "lineage.json"


@dataclass(frozen=True)
class Version:
    """A version of the project's model.

    Attributes:
        number: 0 for the original, and one more for each release.
        weights: path of the weights, relative to the project; None for the file that the project names.
        parent: lineage of the model that it was made from; None for the original.
        data: digest of the rows that it stands on; None for the original.
        erased: keyed digests of all rows that are erased from it.
        pool: name of the references' folder; None where there are none yet.
        cases: the case that answered each request on it, by the request's keyed digest.
        released: when it came into use, ISO 8601; None for the original, and by versions that an early Neuralyzer made.
        withdrawn: when another version took its place; None while it is in use.
        destroyed: when its weights were deleted; None while they are kept.
        left_out: keyed digests of holdout rows that copied a row of the original's data, erased since or not: no version
            of the lineage is judged by them.
    """

    number: int = 0
    weights: str | None = None
    parent: str | None = None
    data: str | None = None
    erased: tuple[str, ...] = ()
    pool: str | None = None
    cases: Mapping[str, str] = field(default_factory=dict)
    released: str | None = None
    withdrawn: str | None = None
    destroyed: str | None = None
    left_out: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Version":
        """Return the version that was written down."""
        lists = {name: tuple(values.get(name, ())) for name in ("erased", "left_out")}
        return cls(**{**values, **lists})


@dataclass(frozen=True)
class Lineage:
    """All versions.

    Attributes:
        versions: the original first.
        current: number of the one in use.
    """

    versions: tuple[Version, ...] = (Version(),)
    current: int = 0

    @classmethod
    def read(cls, place: Path) -> "Lineage":
        """Read the lineage of a workspace.

        Args:
            place: folder of the workspace.

        Returns:
            The lineage; that of an original alone where nothing was released.

        Raises:
            UnreadableError: if the file is damaged.
        """
        path = place / FILE
        if not path.exists():
            return cls()
        content: dict[str, Any] = atomic.read_json(path)
        if "versions" not in content:  # an early Neuralyzer kept the last version alone
            kept = {name: content[name] for name in ("weights", "parent", "data", "pool", "cases")}
            return cls((Version(), Version(1, erased=tuple(content["erased"]), **kept)), 1)
        return cls(tuple(Version.from_dict(one) for one in content["versions"]), content["current"])

    def write(self, place: Path) -> None:
        """Write the lineage; early versions of Neuralyzer read the version in use from it too."""
        now = self.version
        early = {"weights": now.weights, "parent": now.parent, "data": now.data, "erased": list(now.erased),
                 "pool": now.pool, "cases": dict(now.cases)}  # fmt: skip
        versions = [asdict(version) for version in self.versions]
        atomic.write_json(place / FILE, early | {"versions": versions, "current": self.current})

    @property
    def version(self) -> Version:
        """Return the version in use."""
        return self.versions[self.current]

    def released(self, version: Version, moment: str) -> "Lineage":
        """Return the lineage with a new version in use.

        Args:
            version: without number and date.
            moment: of the release, ISO 8601.

        Returns:
            The lineage.
        """
        new = replace(version, number=len(self.versions), released=moment)
        before = self._with(replace(self.version, withdrawn=moment))
        return Lineage((*before.versions, new), new.number)

    def rolled_back(self, number: int, moment: str) -> "Lineage":
        """Return the lineage with an earlier version in use again.

        Args:
            number: of that version.
            moment: of the change, ISO 8601.

        Returns:
            The lineage; no version is lost.

        Raises:
            UsageError: if there is no such version, it is the one in use, or its weights are destroyed.
        """
        wanted = self._numbered(number)
        if number == self.current:
            raise UsageError(f"version {number} is in use already")
        if wanted.destroyed is not None:
            raise UsageError(f"the weights of version {number} were destroyed on {wanted.destroyed[:10]}")
        left = self._with(replace(self.version, withdrawn=moment))
        return replace(left._with(replace(wanted, withdrawn=None)), current=number)

    def destroyed(self, number: int, moment: str) -> "Lineage":
        """Return the lineage with a version whose weights are deleted.

        Args:
            number: of that version.
            moment: of the deletion, ISO 8601.

        Returns:
            The lineage.

        Raises:
            UsageError: if there is no such version, or it is the one in use.
        """
        wanted = self._numbered(number)
        if number == self.current:
            raise UsageError(f"version {number} is in use; it cannot be destroyed")
        return self._with(replace(wanted, destroyed=moment))

    def _numbered(self, number: int) -> Version:
        if not 0 <= number < len(self.versions):
            raise UsageError(f"there is no version {number}; there are 0 to {len(self.versions) - 1}")
        return self.versions[number]

    def _with(self, version: Version) -> "Lineage":
        versions: Sequence[Version] = [version if one.number == version.number else one for one in self.versions]
        return replace(self, versions=tuple(versions))
