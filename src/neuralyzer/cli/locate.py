"""``neuralyzer locate``: finds where the rows are."""

from neuralyzer.cli.options import PROJECT, AlsoNear, Class, Json, ProjectFile, Row, Subject, Where, request
from neuralyzer.cli.output import answer

EXAMPLE = "Example: neuralyzer locate --subject AIFinn"


def run(
    subject: Subject = None,
    row: Row = None,
    class_: Class = None,
    where: Where = None,
    also_near: AlsoNear = False,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Find a request's rows in every registered data set, run, checkpoint and model."""
    from neuralyzer.models.weights import identities
    from neuralyzer.project.project import Project
    from neuralyzer.registry.locate import locate

    opened = Project.read(project)
    weights = identities(opened.weights) if opened.weights.exists() else ()
    erasure = opened.rows.known_by(request(subject, row, class_, where, also_near=also_near))
    result = locate(
        erasure, opened.workspace, opened.data, weights=weights, base=opened.recipe.bases, also=opened.rows.searched,
        name=opened.named["data"],
    )  # fmt: skip
    answer(result.to_dict(), result, json)
