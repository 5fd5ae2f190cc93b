"""The repository, the people and the changes that agents that write are tested on."""

from pipelines.model import Actor, Change, Repository

REPOSITORY = Repository(installation_id=1, id=2, owner="acme", name="shop")
ADA = Actor(id=7, login="ada")
HEAD, BASE = "a" * 40, "b" * 40


def change(**changes: object) -> Change:
    """A branch, without a pull request."""
    values: dict[str, object] = {
        "repository": REPOSITORY,
        "head_sha": HEAD,
        "base_sha": BASE,
        "base_ref": "main",
        **changes,
    }
    return Change.model_validate(values)


def pull(**changes: object) -> Change:
    return change(
        **{
            "number": 5,
            "head_ref": "feature",
            "head_repository_id": 2,
            "title": "Add stats",
            "author": ADA,
            "author_can_write": True,
            **changes,
        }
    )
