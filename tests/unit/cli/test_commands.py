"""Each command as a person types it: what it prints, where, and how it exits."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from bot import __version__
from bot.cli import main
from bot.cli.demo.sample import sample_files
from tests.support.checkout import Checkout
from tests.support.command import MODEL, conductor

MOCK = f"mock:{MODEL}"


@pytest.fixture
def shop(tmp_path: Path) -> Checkout:
    checkout = Checkout(tmp_path / "shop")
    checkout.commit(dict(sample_files("base")))
    checkout.branch("average")
    checkout.commit(dict(sample_files("defect")), "Show the average price")
    return checkout


Here = Callable[..., CompletedProcess[str]]
"""``conductor`` without a process of its own, which costs a second and shows nothing more here."""


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    def run(*arguments: str, folder: Path, **environment: str) -> CompletedProcess[str]:
        with monkeypatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(sys, "argv", ["conductor", *arguments])
            patch.setattr(os, "environ", {"PATH": os.environ["PATH"], **environment})
            with pytest.raises(SystemExit) as ended:
                main()
        said = capsys.readouterr()
        return CompletedProcess(arguments, int(ended.value.code or 0), said.out, said.err)

    return run


def test_version_and_help_work_anywhere(tmp_path: Path, here: Here) -> None:
    assert conductor("version", folder=tmp_path).stdout == f"conductor {__version__}\n"
    text = here("--help", folder=tmp_path).stdout
    for name in ("serve", "web", "worker", "run", "demo", "check-config", "schema", "version"):
        assert name in text
        assert "Example:" in here(name, "--help", folder=tmp_path).stdout


def test_run_finds_the_defect_and_fails(shop: Checkout) -> None:
    done = conductor("run", folder=shop.folder, CONDUCTOR_MODELS=MOCK)
    assert done.returncode == 1, done.stderr
    assert "shop/cart.py:17: high: The average of an empty cart divides by zero" in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_run_writes_machine_formats_to_a_file(shop: Checkout, tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    arguments = ("run", "--format", "json", "--output", str(target))
    done = conductor(*arguments, folder=shop.folder, CONDUCTOR_MODELS=MOCK)
    assert (done.returncode, done.stdout) == (1, "")
    data = json.loads(target.read_text())
    assert data["head_sha"] == shop.git("rev-parse", "HEAD")
    assert [finding["line"] for finding in data["findings"]] == [17]


def test_run_succeeds_where_nothing_is_wrong_and_says_what_it_left_out(shop: Checkout) -> None:
    divides = "    return sum(prices) / len(prices)"
    cart = sample_files("defect")["shop/cart.py"]
    mended = cart.replace(divides, f"    if not prices:\n        return 0.0\n{divides}")
    shop.commit({"shop/cart.py": mended}, "Mind empty carts")
    shop.write({"README.md": "changed\n"})
    done = conductor("run", folder=shop.folder, CONDUCTOR_MODELS=MOCK)
    assert done.returncode == 0, done.stderr
    assert "note: Changes that are not committed were not looked at." in done.stdout


@pytest.mark.parametrize("shown", ["terminal", "json", "sarif", "markdown", "html"])
def test_run_tells_files_apart_whose_names_are_not_utf_8(shop: Checkout, shown: str) -> None:
    leak = "key = 'AKIAABCDEFGHIJKLMNOP'\n"
    names = (b"caf\xe8.py", b"caf\xe9.py", b"half\xed\xa0\x80.py")
    shop.git("branch", os.fsdecode(b"old\xff"), "main")
    shop.commit({os.fsdecode(name): leak for name in names})
    arguments = ("run", "--format", shown, "--base", os.fsdecode(b"old\xff"))
    done = conductor(*arguments, folder=shop.folder, CONDUCTOR_MODELS=MOCK)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    if shown == "json":
        found = {finding["path"] for finding in json.loads(done.stdout)["findings"]}
        leaks = {name.decode(errors="backslashreplace") for name in names}
        assert found == leaks | {"shop/cart.py"}


def test_run_without_a_model_says_so_and_never_claims_success(shop: Checkout) -> None:
    done = conductor("run", "--format", "json", folder=shop.folder)
    assert json.loads(done.stdout)["conclusion"] == "neutral"
    assert "ANTHROPIC_API_KEY" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("run", "--format", "pdf"), 2, "is not one of terminal, json, sarif, markdown, html"),
        (("run", "--base", "no-such-branch"), 2, "name a base with --base"),
        (("run", "--base", "--output=/etc/x"), 2, "name a base with --base"),
        (("run", "--output", "/no/such/folder/x"), 2, "cannot be written"),
        (("check-config", "missing.yml"), 2, "cannot be read"),
        (("serve",), 2, "Set GITHUB_APP_ID, GITHUB_PRIVATE_KEY or"),
        (("web",), 2, "need a Redis that they share: set REDIS_URL"),
        (("worker",), 2, "need a Redis that they share: set REDIS_URL"),
        (("nonsense",), 2, "No such command"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_code_2(
    shop: Checkout, here: Here, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = here(*arguments, folder=shop.folder, CONDUCTOR_MODELS=MOCK)
    assert done.returncode == code
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_run_outside_a_repository_and_with_nothing_to_do(shop: Checkout, tmp_path: Path) -> None:
    outside = conductor("run", folder=tmp_path)
    assert outside.returncode == 2
    assert "not a git repository" in outside.stderr
    shop.git("switch", "-q", "main")
    nothing = conductor("run", folder=shop.folder)
    assert nothing.returncode == 0
    assert "There is nothing to look at" in nothing.stderr


def test_check_config_names_the_line(tmp_path: Path) -> None:
    (tmp_path / ".conductor.yml").write_text(
        "version: 1\nworkflows:\n  a:\n    on: { pull_request: {} }\n"
        "    steps:\n      review: { agent: review, blok_on: high }\n"
    )
    done = conductor("check-config", folder=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith(".conductor.yml:6:")
    assert "block_on" in done.stdout
    data = json.loads(conductor("check-config", "--json", folder=tmp_path).stdout)
    assert data["valid"] is False
    assert data["diagnostics"][0]["line"] == 6
    (tmp_path / ".conductor.yml").write_text(sample_files("base")[".conductor.yml"])
    assert conductor("check-config", folder=tmp_path).returncode == 0


def test_schema_is_json_schema(tmp_path: Path) -> None:
    schema = json.loads(conductor("schema", folder=tmp_path).stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")


@pytest.mark.parametrize("secret", ["", "short"])
def test_serve_refuses_a_short_webhook_secret(tmp_path: Path, here: Here, secret: str) -> None:
    done = here(
        "serve",
        folder=tmp_path,
        GITHUB_APP_ID="1",
        GITHUB_PRIVATE_KEY="x",
        GITHUB_WEBHOOK_SECRET=secret,
    )
    assert done.returncode == 2
    assert "GITHUB_WEBHOOK_SECRET" in done.stderr
