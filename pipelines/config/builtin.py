"""What a command does where no workflow says otherwise: the one step that its name promises."""

from pipelines.config.schema import ConductorFile, Workflow
from pipelines.config.steps import CodingStep, DeployStep, Step, TestStep
from pipelines.config.triggers import CheckRun, Command, Triggers

BUILT_IN = ("fix", "test", "deploy", "rollback")
"""The verbs with a workflow of their own, which is named like the verb."""


def with_command(file: ConductorFile, verb: str, environment: str | None = None) -> ConductorFile:
    """Return the file with the command's own workflow beside its others, named like the verb.

    ``environment`` is where to deploy; whoever asks has checked that it exists. A workflow that
    already has that name keeps it, and so does a verb that starts nothing.
    """
    workflow = _workflow(verb, environment)
    if workflow is None or verb in file.workflows:
        return file
    return file.model_copy(update={"workflows": {**file.workflows, verb: workflow}})


def _workflow(verb: str, environment: str | None) -> Workflow | None:
    step: Step
    match verb:
        case "fix":
            step, name = CodingStep(agent="coding"), "fix"
            on = Triggers(command=Command(verbs=("fix",)), check_run=CheckRun(buttons=("fix",)))
        case "test":
            step, name = TestStep(agent="test"), "tests"
            on = Triggers(command=Command(verbs=("test",)))
        case "deploy" | "rollback":
            step, name = DeployStep(agent="deploy", environment=environment), verb
            on = Triggers(command=Command(verbs=(verb,)))
        case _:
            return None
    return Workflow(on=on, steps={name: step})
