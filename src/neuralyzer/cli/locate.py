"""``neuralyzer locate``: finds where the rows are."""

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
    """Find a request's rows in every registered data set, run, checkpoint and model."""
    from neuralyzer.cli.project import Project
    from neuralyzer.models.weights import identities
    from neuralyzer.registry.locate import locate

    own = Project.read(project)
    weights = identities(own.weights) if own.weights.exists() else ()
    asked = own.rows.known_by(request(subject, row, class_, where))
    found = locate(
        asked, own.workspace, own.data, weights=weights, base=own.recipe.bases, also=own.rows.searched,
        name=own.named["data"],
    )  # fmt: skip
    answer(found.to_dict(), found, json)
