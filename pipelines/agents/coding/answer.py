"""What the model says at the end of its work; what ran is not asked of it."""

from typing import Literal

from pipelines.agents.structured import Strict


class CodingAnswer(Strict):
    """The model's own words about its edits."""

    outcome: Literal["changed", "unable"]
    headline: str
    explanation: str
    checked: str
    risk: str
