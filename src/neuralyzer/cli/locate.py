"""``neuralyzer locate``: where the rows lie."""

from neuralyzer.cli.options import PROJECT, Class, Json, ProjectFile, Row, Subject, Where, request
from neuralyzer.cli.output import answer

EXAMPLE = "Example: neuralyzer locate --subject AIFinn"


def run(
    subject: Subject = None,
    row: Row = None,
    class_: Class = None,
    where: Where = None,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Find a request's rows in every registered data set, run and checkpoint."""
    from neuralyzer.cli.project import Project
    from neuralyzer.registry.locate import locate

    own = Project.read(project)
    found = locate(request(subject, row, class_, where), own.workspace, own.data)
    answer(found.to_dict(), found, json)
