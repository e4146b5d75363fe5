"""What tests of plans have too: the small world's Oracle, its references, and the task of a request."""

from tests.planning.conftest import setting, task

__all__ = ["setting", "task"]
