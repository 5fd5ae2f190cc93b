"""The run that every engine is measured with: seven steps that do nothing, and two joins."""

from collections.abc import Mapping

NEEDS: Mapping[str, tuple[str, ...]] = {
    "coding": (),
    "test-data": (),
    "devops": (),
    "review": ("coding",),
    "test": ("coding", "test-data"),
    "deploy": ("devops",),
    "monitor": ("deploy",),
}
"""Each step, which is also an agent's name, and the steps that must be done before it."""

THEN: Mapping[str, tuple[str, ...]] = {
    step: tuple(other for other, needs in NEEDS.items() if step in needs) for step in NEEDS
}
"""Each step and the steps that wait for it."""

ROOTS = tuple(step for step, needs in NEEDS.items() if not needs)
RESULT = b'{"conclusion":"success","title":"Nothing to do"}'
