"""Every command: one table from which parsing, permission checks and help are derived."""

from collections.abc import Mapping
from typing import Literal

from pipelines.model import Frozen

Permission = Literal["read", "triage", "write", "maintain"]
"""The least role on the repository that may give a command, in GitHub's own word."""


class Verb(Frozen):
    """One command as users see it."""

    name: str
    usage: str
    """The command with its arguments; ``[…]`` may be left out."""
    permission: Permission
    production: Permission | None = None
    """What it takes where production is concerned, if that is more."""
    example: str
    help: str

    def __str__(self) -> str:
        """Return the name."""
        return self.name


_ALL = (
    Verb(
        name="help",
        usage="help",
        permission="read",
        example="help",
        help="Show this list.",
    ),
    Verb(
        name="status",
        usage="status",
        permission="read",
        example="status",
        help="Show what is running here and what ran last.",
    ),
    Verb(
        name="explain",
        usage="explain FINDING",
        permission="read",
        example="explain 3f9a2c",
        help="Say more about a finding: the evidence and what would settle it.",
    ),
    Verb(
        name="review",
        usage="review",
        permission="triage",
        example="review",
        help="Run the workflows of this pull request now, also on a draft.",
    ),
    Verb(
        name="dismiss",
        usage="dismiss FINDING why",
        permission="triage",
        example="dismiss 3f9a2c the input is validated by the caller",
        help="Never raise this finding here again.",
    ),
    Verb(
        name="pause",
        usage="pause",
        permission="triage",
        example="pause",
        help="Start nothing by itself here until `resume`.",
    ),
    Verb(
        name="resume",
        usage="resume",
        permission="triage",
        example="resume",
        help="End a pause.",
    ),
    Verb(
        name="cancel",
        usage="cancel",
        permission="triage",
        example="cancel",
        help="Stop what is running here.",
    ),
    Verb(
        name="retry",
        usage="retry [STEP]",
        permission="triage",
        example="retry tests",
        help="Run again what did not succeed here, or what has that step.",
    ),
    Verb(
        name="fix",
        usage="fix [what]",
        permission="write",
        example="fix 3f9a2c",
        help="Change the code to settle the open findings, or what is said.",
    ),
    Verb(
        name="test",
        usage="test",
        permission="write",
        example="test",
        help="Run the tests of base and head, and write missing ones.",
    ),
    Verb(
        name="approve",
        usage="approve",
        permission="write",
        production="maintain",
        example="approve",
        help="Let the step go on that waits for an approval.",
    ),
    Verb(
        name="deploy",
        usage="deploy ENV",
        permission="write",
        production="maintain",
        example="deploy staging",
        help="Deploy the commit to an environment.",
    ),
    Verb(
        name="rollback",
        usage="rollback ENV",
        permission="write",
        production="maintain",
        example="rollback staging",
        help="Bring the last good deployment of an environment back.",
    ),
)

VERBS: Mapping[str, Verb] = {verb.name: verb for verb in _ALL}
"""The commands by name, the most harmless first."""


def help_markdown(slug: str) -> str:
    """Return the list of commands for the App that is mentioned as ``@slug``."""
    lines = [
        f"Write `/conductor VERB` or `@{slug} VERB` at the start of a line, one command a comment.",
        "",
        "| command | what it does | needs |",
        "| --- | --- | --- |",
    ]
    for verb in VERBS.values():
        needs = verb.permission
        if verb.production:
            needs += f"; {verb.production} for production"
        lines.append(f"| `{verb.usage}` | {verb.help} | {needs} |")
    examples = ", ".join(
        f"`/conductor {VERBS[name].example}`" for name in ("fix", "dismiss", "deploy")
    )
    return "\n".join([*lines, "", f"For example {examples}."])
