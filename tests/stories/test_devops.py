"""What builds and ships, proposed after each push: one open proposal, and never the same twice."""

from tests.support.town import Town
from tests.support.town_model import Rule
from tests.unit.agents.devops.material import MANIFEST

CONFIG = """\
version: 1
workflows:
  ship:
    on: { push: { branches: [main] } }
    steps:
      package: { agent: devops, write: [kubernetes] }
"""
PATH = "k8s/deployment.yaml"


def writes(content: str) -> list[Rule]:
    """Rules of a model that writes these manifests and says that it is done."""
    call = {"name": "write_file", "arguments": {"path": PATH, "content": content}}
    done = {"outcome": "written", "explanation": "Two replicas behind a service."}
    return [
        {"purpose": "devops", "turn": 1, "replies": [{"calls": [call]}]},
        {"purpose": "devops", "replies": [{"json": done}]},
    ]


async def test_each_push_has_one_proposal_at_the_most(town: Town) -> None:
    town.model.script(*writes(MANIFEST))
    await town.push({".conductor.yml": CONFIG, "shop/__main__.py": "print(1)\n"}, "main")
    await town.settled()
    (first,) = town.pull_requests()
    assert first.issue.state == "open"
    assert await town.file(first.head_sha, PATH) == MANIFEST.rstrip()

    again = await town.push({"README.md": "# Shop\n"}, "main")
    await town.settled()
    assert town.pull_requests() == [first], "the same is proposed already"
    assert town.step(again, "package").conclusion == "success"

    town.model.script(*writes(MANIFEST.replace("replicas: 2", "replicas: 3")))
    await town.push({"README.md": "# A shop\n"}, "main")
    await town.settled()
    older, newer = town.pull_requests()
    assert (older.issue.state, newer.issue.state) == ("closed", "open")
    (said,) = town.said(older.issue)
    assert f"Superseded by pull request {newer.number}, which proposes this anew." in said
    assert "replicas: 3" in await town.file(newer.head_sha, PATH)
