"""Opens the service's database for a project file, as verbs need it."""

from importlib.machinery import PathFinder
from pathlib import Path

from neuralyzer.errors import StorageError, UsageError
from neuralyzer.project.project import Project
from neuralyzer.service.requests import Requests
from neuralyzer.service.settings import Settings
from neuralyzer.service.tokens import Tokens
from neuralyzer.workspace import commitments
from neuralyzer.workspace.atomic import make_folder
from neuralyzer.workspace.paths import Workspace


def opened(settings: Settings) -> Requests:
    """Open the requests of a service; the folder of the workspace is made if there is none.

    Args:
        settings: have the database's URL.

    Returns:
        The requests.

    Raises:
        UsageError: if the URL names no database that can be used.
        StorageError: if the database or the folder cannot be reached.
        CertificateError: if the workspace's key cannot be used.
    """
    try:
        make_folder(settings.workspace)
    except OSError as error:
        raise StorageError(f"cannot write {settings.workspace}: {error.strerror}") from error
    return Requests(settings.database, commitments.key(Workspace(settings.workspace)))


def requests_of(project: Path) -> tuple[Settings, Requests]:
    """Read a project file, and open the requests of its service."""
    settings = Settings.of(Project.read(project))
    return settings, opened(settings)


def tokens_of(project: Path) -> Tokens:
    """Read a project file, and open the tokens of its service."""
    return Tokens(requests_of(project)[1].database)


def require_recipe(settings: Settings, project: Project) -> None:
    """Refuse a recipe whose module does not lie in a folder from which the service may import.

    Args:
        settings: have the folders.
        project: names the recipe.

    Raises:
        UsageError: if the module is not in one of them; it is not imported.
    """
    name = str(project.tables["model"]["recipe"])
    module = name.partition(":")[0].partition(".")[0]
    spec = PathFinder.find_spec(module, [str(root) for root in settings.recipe_roots])
    found = None if spec is None or spec.origin is None else Path(spec.origin).resolve()
    if found is None or not any(found.is_relative_to(root) for root in settings.recipe_roots):
        raise UsageError(f"the recipe {name} is not in recipe_roots of [service]; put it there, or name its folder")
