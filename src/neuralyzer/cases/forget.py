"""``forget``: a whole case, from the request to the signed certificate and the report."""

import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

from neuralyzer.cases.case import Case
from neuralyzer.cases.closing import References_
from neuralyzer.cases.listener import CaseListener
from neuralyzer.cases.options import CaseOptions
from neuralyzer.cases.stages import Stages
from neuralyzer.data.request import ErasureRequest
from neuralyzer.models import threads
from neuralyzer.models.trained import TrainedModel
from neuralyzer.progress import Progress
from neuralyzer.workspace import locks
from neuralyzer.workspace.paths import Workspace, as_workspace


def forget(
    oracle: TrainedModel,
    request: ErasureRequest,
    references: References_ = None,
    workspace: Workspace | Path | str | None = None,
    *,
    method: str | None = None,
    options: CaseOptions | None = None,
    progress: Progress | None = None,
    watch: CaseListener | None = None,
    wish: CaseOptions | None = None,
) -> Case:
    """Make a model forget, and prove it.

    Each stage's result is written before the next begins. If the case is killed and called again with the same
    arguments, it resumes after its last finished stage and ends in the same weights. The original is never changed.

    Args:
        oracle: the model.
        request: names the rows, the guarantee and the due date.
        references: the model's pool, or a function that returns it; without one only exact options get a verdict.
        workspace: has the policy and keeps the case; a temporary folder by default.
        method: name of the algorithm, short for ``options``.
        options: of the case.
        progress: shows the work.
        watch: receives each stage's result.
        wish: ``options`` by its old name, which is removed with the next version.

    Returns:
        The finished case.

    Raises:
        UsageError: if there is no such method, if it cannot be used on this request, or if exact references are asked
            for without a pool.
    """
    place = as_workspace(tempfile.mkdtemp(prefix="neuralyzer-") if workspace is None else workspace)
    if wish is not None:
        warnings.warn("forget(wish=) is now forget(options=)", DeprecationWarning, stacklevel=2)
    options = options or wish or CaseOptions()
    options = replace(options, method=method) if method is not None else options
    lineage = place.locks / f"{oracle.lineage[:16]}.lock"
    with (
        locks.held(lineage, "makes this model forget"),
        threads.using(threads.settled(place.threads, oracle.recipe, oracle.data).count),
    ):
        return Stages(oracle, request, references, place, options, watch, progress).close()
