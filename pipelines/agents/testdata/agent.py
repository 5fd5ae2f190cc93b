"""Makes test data for a change: finds schemas, plans, generates, validates, delivers."""

import asyncio
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pipelines import globs
from pipelines.agents.base import BaseAgent
from pipelines.agents.branches import not_its_own
from pipelines.agents.context import AgentContext
from pipelines.agents.options import section
from pipelines.agents.testdata.generation import DataSet, Generated, generate
from pipelines.agents.testdata.plan import Plan, plan, touched
from pipelines.agents.testdata.schemas import Found, candidates, read_schemas
from pipelines.agents.testing.judgement import code
from pipelines.agents.testing.subject import Subject, texts_of
from pipelines.config.steps import TestDataOptions
from pipelines.model import (
    ChangedFile,
    Conclusion,
    FileEdit,
    Fixture,
    PushCommit,
    Task,
    TaskResult,
)
from pipelines.paths import refused_content, refused_path

_FOLDER = "tests/fixtures"
_NAME = re.compile(r"[^A-Za-z0-9_]+")
_SAMPLE = 3
_MAX_SAMPLE = 4_000
_SHOWN = 15
_LINKS = ("120000", "160000")


@dataclass(frozen=True, slots=True)
class _File:
    """A data set and the path that it is stored under."""

    data: DataSet
    path: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data.content.encode()).hexdigest()


class TestDataAgent(BaseAgent):
    """Generates fixtures from the schemas of a repository, and stores only valid records.

    Options: as ``TestDataOptions`` of the configuration.
    """

    __test__ = False
    name: ClassVar[str] = "test-data"

    def _validate_task(self, task: Task) -> None:
        super()._validate_task(task)
        section(TestDataOptions, task)

    async def _execute(self, task: Task, context: AgentContext) -> TaskResult:
        subject = await Subject.read(context.reader)
        ignore = globs.compile_all(task.ignore)
        paths = [
            path
            for path in candidates(subject.tree, subject.changed)
            if not globs.any_match(ignore, path)
        ]
        found = read_schemas(await texts_of(context.reader, paths))
        if not found.schemas:
            return _none(task, found)
        chosen = await _plan(task, context, found, subject.changed)
        made = generate(
            chosen.schemas, task.change.repository.id, section(TestDataOptions, task).records
        )
        folder = subject.layout.fixtures if subject.layout else _FOLDER
        files = _files(made, f"{folder}/generated")
        effects, note = _commit(task, subject, files)
        return _result(task, found, made, files, (effects, (chosen.note, note)))


async def _plan(
    task: Task, context: AgentContext, found: Found, changed: Mapping[str, ChangedFile]
) -> Plan:
    """Let the model choose, for at most half of the time that there is."""
    left = (task.deadline - context.clock.now()).total_seconds() / 2
    try:
        async with asyncio.timeout(left):
            return await plan(task, context, found.schemas, changed)
    except TimeoutError:
        note = "The schemas were chosen by what the change touches: the model did not answer."
        return Plan(tuple(touched(found.schemas, changed)[:10]), note)


def _files(made: Generated, folder: str) -> list[_File]:
    """Give each data set a path of its own; what a name cannot be in a path is left out."""
    files: dict[str, _File] = {}
    for data in made.sets:
        stem = _NAME.sub("_", data.schema.name).strip("_").lower()[:80] or "records"
        path, number = f"{folder}/{stem}.json", 2
        while path in files:
            path, number = f"{folder}/{stem}_{number}.json", number + 1
        files[path] = _File(data, path)
    return list(files.values())


def _commit(
    task: Task, subject: Subject, files: Sequence[_File]
) -> tuple[tuple[PushCommit, ...], str]:
    """Return the commit that the step asked for, or a note why there is none."""
    if not section(TestDataOptions, task).commit or not files:
        return (), ""
    change = task.change
    if obstacle := not_its_own(change):
        return (), f"The fixtures were not committed, because {obstacle}."
    shas = {entry.path: entry.sha for entry in subject.tree.entries}
    links = {entry.path for entry in subject.tree.entries if entry.mode in _LINKS}
    edits: list[FileEdit] = []
    for file in files:
        content = file.data.content
        parts = file.path.split("/")
        above = {"/".join(parts[:count]) for count in range(1, len(parts) + 1)}
        refused = refused_path(file.path, task.protected) or refused_content(content)
        if refused or above & links:
            reason = refused or "the path leads through a link"
            return (), f"The fixtures were not committed, because {reason}."
        if shas.get(file.path) != _blob(content, shas.get(file.path)):
            edits.append(FileEdit(path=file.path, content=content, before_sha=shas.get(file.path)))
    if not edits:
        return (), "The branch has these fixtures already."
    names = [f"- {file.path}: {len(file.data.records)} records" for file in files]
    commit = PushCommit(
        head_sha=change.head_sha,
        branch=change.head_ref,
        edits=tuple(edits),
        headline=f"Add {len(edits)} fixture file{'s' * (len(edits) > 1)}",
        body="\n".join(["Generated from the schemas, and valid by them:", "", *names]),
    )
    return (commit,), ""


def _blob(content: str, like: str | None) -> str:
    """Return git's id of a file with this text, in the repository's own kind of hash."""
    data = content.encode()
    kind = hashlib.sha256 if like and len(like) == 64 else hashlib.sha1
    return kind(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _result(
    task: Task,
    found: Found,
    made: Generated,
    files: Sequence[_File],
    delivered: tuple[tuple[PushCommit, ...], tuple[str, ...]],
) -> TaskResult:
    effects, notes = delivered
    records = sum(len(file.data.records) for file in files)
    whole = bool(files) and not made.failed and not any(file.data.dropped for file in files)
    title = f"{records} valid records for {len(files)} of {len(files) + len(made.failed)} schemas"
    return TaskResult(
        task_id=task.id,
        status="completed",
        conclusion=Conclusion.SUCCESS if whole else Conclusion.NEUTRAL,
        title=title if files or made.failed else "No schema of the repository needs data",
        summary="\n\n".join(part for part in (*_lines(found, made, files), *notes) if part),
        effects=effects,
        artifacts=tuple(
            Fixture(
                path=file.path,
                schema_name=file.data.schema.name,
                schema_sha=file.data.schema.digest,
                seed=file.data.seed,
                records=len(file.data.records),
                content=file.data.content,
            )
            for file in files
        ),
        outputs={
            "fixtures": [
                {
                    "path": file.path,
                    "schema": file.data.schema.name,
                    "source": file.data.schema.path,
                    "records": len(file.data.records),
                    "sha256": file.digest,
                    "sample": _sample(file.data),
                }
                for file in files
            ],
            "committed": bool(effects),
        },
    )


def _sample(data: DataSet) -> str:
    text = json.dumps(data.records[:_SAMPLE], ensure_ascii=False)
    return text if len(text) <= _MAX_SAMPLE else ""


def _lines(found: Found, made: Generated, files: Sequence[_File]) -> list[str]:
    rows = [f"- {code(f.path)}: {_about(f.data)}" for f in files]
    rows += [f"- {code(schema.name)}: nothing, because {why}" for schema, why in made.failed]
    lines = ["\n".join(["Test data, each record valid by its schema:", *rows])] if rows else []
    return [*lines, *_left_out(found)]


def _about(data: DataSet) -> str:
    dropped = f", {data.dropped} left out that were not valid or too much" if data.dropped else ""
    schema = data.schema
    where = f"{code(schema.name)} in {code(schema.path)} ({schema.origin})"
    return f"{len(data.records)} records of {where}, seed {data.seed}{dropped}"


def _left_out(found: Found) -> list[str]:
    if not found.left_out:
        return []
    shown = [f"- {code(path)}: {why}" for path, why in found.left_out[:_SHOWN]]
    more = len(found.left_out) - _SHOWN
    tail = [f"- and {more} more"] if more > 0 else []
    return ["\n".join(["Not read as schemas:", *shown, *tail])]


def _none(task: Task, found: Found) -> TaskResult:
    return TaskResult(
        task_id=task.id,
        status="completed",
        conclusion=Conclusion.NEUTRAL,
        title="No schema was found that test data could be made from",
        summary="\n\n".join(
            [
                "Looked for JSON Schema, OpenAPI, `CREATE TABLE`, dataclasses, pydantic models "
                "and TypeScript interfaces.",
                *_left_out(found),
            ]
        ),
        outputs={"fixtures": [], "committed": False},
    )
