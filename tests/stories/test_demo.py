"""The demo tells its whole story: a real process, a real service, a real repository."""

from pathlib import Path

from tests.support.command import conductor


def test_the_demo_finds_the_defect_and_answers_the_fix(tmp_path: Path) -> None:
    done = conductor("demo", folder=tmp_path, timeout=110, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line.strip() for line in done.stdout.splitlines()]
    assert any("GET /carts/new → 500" in line for line in told)
    assert "check 'conductor / pull-request / review': failure: 1 finding at or above high" in told
    assert "**The average of an empty cart divides by zero**" in told
    assert any("GET /carts/new → 200" in line for line in told)
    assert any(line.startswith("in the thread: Fixed in ") for line in told)
    assert "the thread is resolved" in told
    assert "2 pushes: 1 review, 1 finding, found and answered" in told
    assert "\x1b" not in done.stdout
    assert list(tmp_path.glob("conductor-demo-*")) == [], "the demo leaves nothing behind"
