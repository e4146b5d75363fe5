"""A service as its pages are tested: with requests in every state, and a browser's sign-in."""

import datetime as dt
import json
import re

from fastapi.testclient import TestClient

from neuralyzer.data.request import ErasureRequest
from neuralyzer.service.states import State
from tests.report.example import answers, result

ORIGIN = {"Origin": "http://testserver"}
NAMES = ("Ada Lindqvist", "Noor Haddad", "Jun Watanabe", "Marta Kowalczyk", "Elif Demir", "Tomás Ibarra", "Ines Weber")
OPTIONS = [
    {"method": "influence", "guarantee": "weak", "seconds": 74.0, "trace": 0.06, "utility": 0.97, "feasible": True,
     "chosen": True, "reason": "least trace among the options that the budget allows, and no utility lost"},
    {"method": "checkpoint-replay", "guarantee": "clean", "seconds": 512.0, "trace": 0.0, "utility": 0.972,
     "feasible": True, "chosen": False, "reason": "exact, but takes seven times as long"},
    {"method": "finetune", "guarantee": "weak", "seconds": 41.0, "trace": 0.71, "utility": 0.975, "feasible": True,
     "chosen": False, "reason": "leaves most of the trace"},
    {"method": "retrain", "guarantee": "exact", "seconds": 1840.0, "trace": 0.0, "utility": 0.971, "feasible": True,
     "chosen": False, "reason": "always possible, and the slowest"},
]  # fmt: skip


def guard_in(html):
    return re.search(r'name="guard" value="([0-9a-f]{64})"', html)[1]


def sign_in(world, scope="admin"):
    """A browser that has signed in with the token of a scope."""
    client = TestClient(world.app, headers=ORIGIN)
    guard = guard_in(client.get("/sign-in").text)
    answer = client.post("/sign-in", data={"guard": guard, "secret": world.secrets[scope]}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    return client


def send(client, path, page=None, **fields):
    """Send a form as the page that has it would."""
    guard = guard_in(client.get(page or path).text)
    return client.post(path, data={"guard": guard, **fields}, follow_redirects=False)


class Story:
    """A case told by events, as a worker tells one; no model is needed."""

    def __init__(self, world, name="Ada Lindqvist", received=None, due=None):
        self.world, self.requests = world, world.service.requests
        erasure = ErasureRequest(subjects=[name])
        made, _ = self.requests.create("shop", erasure, world.token("request"), received=received, due=due)
        self.id = made.id

    @classmethod
    def of(cls, world, id_):
        """The story of a request that is there."""
        story = object.__new__(cls)
        story.world, story.requests, story.id = world, world.service.requests, id_
        return story

    @property
    def case(self):
        return f"case-{self.id[4:16]}"

    @property
    def batch(self):
        return f"batch-{self.id[4:]}"

    def prepare(self):
        self.requests.move([self.id], State.PREPARING, "preparing", {"batch": self.batch}, batch=self.batch)
        self.requests.show([self.id], "located", {"rows": 72, "datasets": 2})
        return self

    def audit(self):
        families = [{k: v for k, v in f.items() if k != "p_value"} for f in result()["audit"]["families"]]
        self.requests.show([self.id], "audit", {"verdict": "not forgotten", "families": families})
        return self

    def plan(self):
        facts = {"version": 0, "case": self.case, "audit": "not forgotten", "method": "influence", "together": 1,
                 "note": "", "options": OPTIONS}  # fmt: skip
        self.requests.move([self.id], State.PLANNED, "planned", facts, case=self.case)
        folder = self.world.service.settings.workspace / "cases" / self.case
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plan.json").write_text(json.dumps({"options": OPTIONS, "note": ""}))
        return self

    def unlearn(self, steps=40):
        self.requests.note(
            self.id, "approved", {"what": "unlearn", "by": self.world.token("approve")}, approved="unlearn"
        )
        self.requests.move([self.id], State.UNLEARNING, "unlearning", {"batch": self.batch})
        for step in range(steps):
            self.progress(step, steps)
        return self

    def progress(self, step, steps=40):
        far = 1 - 0.88**step
        facts = {"step": "influence: pass 2", "done": step + 1, "total": steps, "forget": round(0.04 + 1.3 * far, 4),
                 "retained": round(0.05 + 0.05 * far * (1 - far), 4), "holdout": round(1.31 + 0.02 * far, 4)}  # fmt: skip
        self.requests.show([self.id], "progress", facts)

    def judge(self, verdict="forgotten", state=State.JUDGED):
        verification = result()["verification"]
        keep = ("family", "signal", "original", "unlearned", "low", "high", "detectable", "counts")
        families = [{name: family[name] for name in keep} for family in verification["families"]]
        facts = {"method": "influence", "reason": "", "verdict": verdict, "families": families}
        self.requests.show([self.id], "attempt", facts)
        message = None if state is State.JUDGED else f"{self.case} is {verdict}; see its report"
        told = {"case": self.case, "verdict": verdict, "method": "influence", "weights": "9f" * 32}
        self.requests.move([self.id], state, "judged", told, verdict=verdict, approved=None, message=message)
        folder = self.world.service.settings.workspace / "cases" / self.case
        content = result(answers=answers()) | {"case": self.case}
        (folder / "result.json").write_text(json.dumps(content))
        (folder / "certificate.json").write_text("{}")
        (folder / "report.html").write_text("<!doctype html><title>Report</title><h1>Report</h1>")
        return self

    def release(self):
        self.requests.move([self.id], State.DONE, "released", {"version": 1})
        return self

    def through(self, verdict="forgotten"):
        return self.prepare().audit().plan().unlearn().judge(verdict)


def many(world):
    """Requests in all states, of which one is late; returns their stories by what they show."""
    now = dt.datetime.now(dt.UTC)

    def story(place, days, **more):
        received = now - dt.timedelta(days=days)
        return Story(world, NAMES[place], received=received, **more)

    stories = {
        "late": story(0, 36), "running": story(1, 12), "planned": story(2, 9), "waiting": story(3, 2),
        "inconclusive": story(4, 20), "done": story(5, 25), "judged": story(6, 15),
    }  # fmt: skip
    stories["late"].prepare().audit()
    stories["running"].prepare().audit().plan().unlearn(24)
    stories["planned"].prepare().audit().plan()
    stories["inconclusive"].prepare().audit().plan().unlearn().judge("inconclusive", State.NEEDS_PERSON)
    stories["done"].through().release()
    stories["judged"].through()
    return stories
