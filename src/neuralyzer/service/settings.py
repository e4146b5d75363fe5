"""``Settings``: what ``neuralyzer.toml`` says of the service, in ``[database]``, ``[policy]`` and ``[service]``."""

from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from neuralyzer.errors import UsageError
from neuralyzer.project import project_file
from neuralyzer.project.project import Project

LARGEST = 1 << 20  # bytes of a request's body; a request names subjects and rows, it brings no data
RATE = 1200  # requests a minute of one token
UPLOAD = 256 << 20  # bytes of a file that is uploaded to a page, such as weights
DATABASE = "service.sqlite"


class Approve(StrEnum):
    """When a person must approve."""

    BEFORE_UNLEARN = "before-unlearn"
    BEFORE_RELEASE = "before-release"
    NEVER = "never"


@dataclass(frozen=True)
class Settings:
    """The settings of a service.

    Attributes:
        root: folder of the project file; paths are relative to it.
        workspace: folder of the workspace.
        database: URL of the database, ``[database] url``; a SQLite file in the workspace by default.
        model: name by which requests know the project's model; the stem of the weights' file by default.
        approve: when a person must approve, ``[policy] approve``.
        batch_days: how long a request may wait for others that share its run.
        retention_days: how long the weights of an earlier version are kept; None without an end.
        domain: name of this host as consent platforms know it, for ``X-OpenDSR-Processor-Domain``.
        identities: types of OpenDSR's identities whose values name subjects here.
        callback_hosts: hosts to which callbacks may go; none by default.
        recipe_roots: folders from which a recipe may be imported; the project's own by default.
        rate: requests a minute of one token in one process; an address without a valid token has a tenth.
        largest_body: bytes of a request's body.
        largest_upload: bytes of what is uploaded to a page.
    """

    root: Path
    workspace: Path
    database: str
    model: str
    approve: Approve = Approve.NEVER
    batch_days: float = 0.0
    retention_days: float | None = None
    domain: str = "localhost"
    identities: tuple[str, ...] = ("controller_customer_id", "email")
    callback_hosts: tuple[str, ...] = ()
    recipe_roots: tuple[Path, ...] = ()
    rate: int = RATE
    largest_body: int = LARGEST
    largest_upload: int = UPLOAD

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "approve", Approve(self.approve))
        except ValueError:
            raise UsageError(f"policy.approve is {self.approve!r}; it is one of {', '.join(Approve)}") from None
        for name in ("batch_days", "retention_days"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise UsageError(f"policy.{name} is {value}; it must not be below 0")
        for name in ("rate", "largest_body", "largest_upload"):
            if getattr(self, name) < 1:
                raise UsageError(f"service.{name} is {getattr(self, name)}; it must be above 0")

    @classmethod
    def of(cls, project: Project) -> "Settings":
        """Read the settings from a project file.

        Args:
            project: whose tables are read; no data is loaded.

        Returns:
            The settings.

        Raises:
            UsageError: if a value cannot be used.
        """
        root, place = project.root, project.root / project_file.FOLDER
        own: dict[str, Any] = dict(project.tables.get("service", {}))
        own |= {key: value for key, value in project.tables.get("policy", {}).items() if key in project_file.OF_SERVICE}
        own["callback_hosts"] = tuple(host.lower() for host in own.get("callback_hosts", ()))
        own["recipe_roots"] = tuple((root / folder).resolve() for folder in own.get("recipe_roots", (".",)))
        if "identities" in own:
            own["identities"] = tuple(own["identities"])
        own.setdefault("model", Path(str(project.tables["model"]["weights"])).stem)
        url = project.tables.get("database", {}).get("url") or f"sqlite:///{place / DATABASE}"
        assert set(own) <= {field.name for field in fields(cls)}
        return cls(root=root, workspace=place, database=url, **own)
