"""``neuralyzer audit``: how much the model remembers."""

from neuralyzer.cli.options import PROJECT, Class, Json, ProjectFile, Row, Subject, Where, request
from neuralyzer.cli.output import answer

EXAMPLE = "Example: neuralyzer audit --subject AIFinn --json"


def run(
    subject: Subject = None,
    row: Row = None,
    class_: Class = None,
    where: Where = None,
    project: ProjectFile = PROJECT,
    json: Json = False,
) -> None:
    """Measure how much of a request's rows the model remembers; a finished audit exits 0 whatever it found."""
    from neuralyzer.cli.project import Project
    from neuralyzer.verification.audit import audit

    own = Project.read(project)
    oracle = own.oracle()
    found = audit(oracle, request(subject, row, class_, where), own.references(oracle), own.workspace.policy)
    answer(found.to_dict(), found, json)
