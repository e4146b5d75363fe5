"""Whether the service lives and can work, and its numbers for Prometheus."""

import datetime as dt
from collections.abc import Iterator

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from neuralyzer.service import figures
from neuralyzer.service.api import problems
from neuralyzer.service.api.problems import Problem
from neuralyzer.service.api.security import Reader
from neuralyzer.service.context import Here, Service
from neuralyzer.service.workers import Workers

DAY = 86400
BUCKETS = (60, 600, 3600, 6 * 3600, DAY, 3 * DAY, 7 * DAY, 14 * DAY, 21 * DAY, 30 * DAY, 60 * DAY, 90 * DAY)  # seconds
LATELY = 90  # days of answers that are counted

routes = APIRouter(tags=["health"])


@routes.get("/health/live")
def live() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "live"}


@routes.get("/health/ready", responses={503: problems.ANSWERS[503]})
def ready(here: Here) -> dict[str, str]:
    """Say whether the database and the workspace can be used."""
    here.requests.newest()
    if not here.settings.workspace.is_dir():
        raise Problem(503, "the workspace is not there", {"Retry-After": "10"})
    return {"status": "ready"}


@routes.get("/metrics", response_class=Response, responses=problems.ANSWERS | {200: {"content": {"text/plain": {}}}})
def metrics(here: Here, token: Reader) -> Response:
    """Give the numbers for Prometheus; they name nobody."""
    registry = CollectorRegistry()
    registry.register(_Numbers(here))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Numbers(Collector):
    """Reads the numbers from the database when they are asked for."""

    def __init__(self, here: Service) -> None:
        self._here = here

    def describe(self) -> Iterator[Metric]:
        return iter(())  # so that registering asks for nothing

    def collect(self) -> Iterator[Metric]:
        requests, now = self._here.requests, dt.datetime.now(dt.UTC)
        states = GaugeMetricFamily("neuralyzer_requests", "Requests by state.", labels=["state"])
        for state, count in requests.count().items():
            states.add_metric([state], count)
        yield states
        late = figures.late(requests.database, now.date())
        yield GaugeMetricFamily("neuralyzer_requests_late", "Open requests whose due date is over.", value=late)
        answers = HistogramMetricFamily(
            "neuralyzer_answer_seconds", f"From receipt to answer, of the last {LATELY} days."
        )
        took = figures.answered(requests.database, now - dt.timedelta(days=LATELY))
        counts = [(str(float(limit)), float(sum(one <= limit for one in took))) for limit in BUCKETS]
        answers.add_metric([], [*counts, ("+Inf", float(len(took)))], sum(took))
        yield answers
        beats = GaugeMetricFamily(
            "neuralyzer_worker_heartbeat_age_seconds", "Since a worker was last heard of.", labels=["worker"]
        )
        for worker, age in Workers(requests.database).alive().items():
            beats.add_metric([worker], age)
        yield beats
