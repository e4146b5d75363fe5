"""``Supervisor``: keeps workers of a server running on its machine."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

from neuralyzer.service.chores import Repeated

LOOK = 1.0  # seconds between two looks at the workers
SHORT = 30.0  # seconds; a worker that ends within them waits before it is started again
GRACE = 20.0  # seconds that a worker has to end when it is told to

log = logging.getLogger("neuralyzer.service")


class Supervisor:
    """Workers in processes of their own; one that ends is started again.

    Args:
        project: the project file.
        workers: how many.
    """

    def __init__(self, project: Path, workers: int) -> None:
        command = [sys.executable, "-m", "neuralyzer", "worker", "--project", str(project)]
        self._command = [*command, "--server", str(os.getpid())]
        self._began: dict[int, float] = {}
        self._running: list[subprocess.Popen[bytes]] = []
        for place in range(workers):
            self._running.append(self._start(place))
        self._looks = Repeated("supervisor", self._look, LOOK)

    def stop(self) -> None:
        """End the workers; a case that one is at is gone on with later."""
        self._looks.stop()
        for process in self._running:
            process.terminate()
        for process in self._running:
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:  # deep in a training; a kill loses nothing
                process.kill()
                process.wait()

    def _start(self, place: int) -> "subprocess.Popen[bytes]":
        self._began[place] = time.monotonic()
        return subprocess.Popen(self._command)

    def _look(self) -> None:
        for place, process in enumerate(self._running):
            if process.poll() is None:
                continue
            age = time.monotonic() - self._began[place]
            if age >= SHORT:
                log.warning("a worker has ended with code %s; it is started again", process.returncode)
                self._running[place] = self._start(place)
            # One that ended early is started again when it would be old enough, so that a fault does not spin.
