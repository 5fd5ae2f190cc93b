"""A path becomes a metric's label: no name, number or commit may make a new one."""

import pytest

from bot.github.transport import route

SHA = "0123456789abcdef" * 2 + "01234567"
HERE = "https://api.github.com/repos/acme/shop"
LABEL = "/repos/{owner}/{repo}"


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("/git/ref/heads/conductor/fix-1", "/git/ref/{ref}"),
        ("/git/refs", "/git/refs"),
        (f"/git/trees/{SHA}?recursive=1", "/git/trees/{sha}"),
        (f"/git/blobs/{SHA}", "/git/blobs/{sha}"),
        (f"/commits/{SHA}/check-runs", "/commits/{sha}/check-runs"),
        (f"/compare/{SHA}...conductor%2Ffix-1?per_page=100", "/compare/{range}"),
        ("/deployments/123456/statuses", "/deployments/{id}/statuses"),
        ("/issues/5/comments", "/issues/{id}/comments"),
        ("/collaborators/alice/permission", "/collaborators/{login}/permission"),
        ("/pulls/7/commits", "/pulls/{id}/commits"),
    ],
)
def test_a_path_is_counted_by_its_template(path: str, label: str) -> None:
    assert route(HERE + path) == LABEL + label
