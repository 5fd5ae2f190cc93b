"""The demo tells its whole story: real processes, a real service, a real repository, the loop."""

from pathlib import Path

import pytest

from tests.support.command import conductor


@pytest.mark.fleet
@pytest.mark.timeout(190)
def test_the_demo_carries_a_defect_to_its_verified_fix(tmp_path: Path) -> None:
    done = conductor("demo", folder=tmp_path, timeout=175, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line.strip() for line in done.stdout.splitlines()]
    visits = [line for line in told if line.startswith("GET /carts/new")]
    statuses = [line.split()[3] for line in visits]
    assert statuses == ["200", "500", "500", "200", "200"], (
        "well, broken, noticed, mended, verified"
    )
    assert "check 'conductor / deliver / watch': success: staging is healthy" in done.stdout
    assert "check 'conductor / pull-request / review': failure: " in done.stdout
    assert "**The average of an empty cart divides by zero**" in told
    assert any("out of bounds in staging" in line for line in told)
    assert "+    if not prices:" in done.stdout
    assert any("`python3 -m unittest -v` exited with 0 over this commit" in line for line in told)
    assert "check 'conductor / pull-request / tests': success: 4 tests, none fails" in told
    assert any(line.endswith("/issues/2 is closed") for line in told)
    assert any("3 deployments" in line for line in told)
    assert "\x1b" not in done.stdout
    assert list(tmp_path.glob("conductor-demo-*")) == [], "the demo leaves nothing behind"
