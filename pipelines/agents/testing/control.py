"""A control: a test that must fail is laid over the change, and the runner has to say that it did.

What patches the runner, swallows failures or ends the process early cannot know the control's name.
"""

from dataclasses import dataclass

from pipelines.agents.testing.execution import Bench
from pipelines.agents.testing.layout import Layout
from pipelines.agents.testing.recipe import Recipe, Wishes, runs_everything
from pipelines.model import FileEdit
from pipelines.ports import Rng

_BODIES = {
    "pytest": "def test_{name}():\n    raise AssertionError('this test must fail')\n",
    "unittest": (
        "import unittest\n\n\nclass Control(unittest.TestCase):\n"
        "    def test_{name}(self):\n        self.fail('this test must fail')\n"
    ),
    "node": (
        "import test from 'node:test';\n"
        "test('{name}', () => {{ throw new Error('this test must fail'); }});\n"
    ),
    "jest": "test('{name}', () => {{ throw new Error('this test must fail'); }});\n",
    "vitest": (
        "import {{ test }} from 'vitest';\n"
        "test('{name}', () => {{ throw new Error('this test must fail'); }});\n"
    ),
}


@dataclass(frozen=True, slots=True)
class Control:
    """What came of a control; neither is set where none could be made."""

    suspicion: str = ""
    note: str = ""


async def control(
    bench: Bench, recipe: Recipe, layout: Layout | None, wishes: Wishes, rng: Rng
) -> Control:
    """Run all tests of head and one that must fail."""
    if layout is None or layout.framework not in _BODIES or not runs_everything(layout, wishes):
        return Control()
    name = f"control_{rng.getrandbits(48):012x}"
    content = _BODIES[layout.framework].format(name=name)
    ran = await bench.run(recipe, edits=(FileEdit(path=_path(layout, name), content=content),))
    if ran.ended_well:
        return Control("a test that must fail was added, and the command still exited with 0")
    failures = ran.claims.failures if ran.claims else ()
    if ran.claims is not None and not any(name in case.name for case in failures):
        return Control("a test that must fail was added, and the report does not say that it did")
    return Control(note="A test that must fail was added to a further run, and it was told.")


def _path(layout: Layout, name: str) -> str:
    if layout.language == "python":
        file = f"test_{name}.py"
    else:
        file = f"{name}.test{'.mjs' if layout.framework == 'node' else layout.extension}"
    return f"{layout.folder}/{file}" if layout.folder else file
