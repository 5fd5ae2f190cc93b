"""Writes the tests that a change is missing, and keeps those that proved themselves."""

import asyncio
import difflib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipelines import globs
from pipelines.agents.branches import not_its_own
from pipelines.agents.context import AgentContext
from pipelines.agents.fence import presentable
from pipelines.agents.testing.execution import Bench
from pipelines.agents.testing.judgement import block, code
from pipelines.agents.testing.layout import Layout, is_own
from pipelines.agents.testing.options import Options
from pipelines.agents.testing.proof import Candidate, Proof, Prover
from pipelines.agents.testing.proposal import ChangedSource, TestAnswer, Tried, propose, unfit
from pipelines.agents.testing.subject import texts_of
from pipelines.diff import compare
from pipelines.errors import UserError
from pipelines.model import (
    Artifact,
    Change,
    ChangedFile,
    CodeVersion,
    Effect,
    FileEdit,
    FileStatus,
    Learned,
    Outcome,
    PushCommit,
    Task,
)
from pipelines.paths import refused_path
from pipelines.ports import FileText, Reader, Tree

_MAX_SOURCES = 4
_MAX_SUPPORT = 50
_MAX_TEXT = 60_000
_EXTENSIONS = {
    "python": (".py",),
    "javascript": (".js", ".jsx", ".mjs", ".cjs"),
    "typescript": (".ts", ".tsx", ".js", ".jsx", ".mts", ".mjs"),
    "go": (".go",),
}
_LINKS = ("120000", "160000")
_ROUNDS = 2
"""How often the model is asked: once more for the tests that did not prove themselves."""
_NOTHING_MISSING = "The model finds no test missing."
_MARKS = ("", "more", "more_2", "more_3", "more_4")


@dataclass(frozen=True, slots=True)
class Written:
    """What came of it; ``notes`` go into the summary."""

    effects: tuple[Effect, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    notes: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    """Paths of the tests that proved themselves."""


def nothing(note: str = "") -> Written:
    """Return that no test was written, and why if there is something to say."""
    return Written(notes=(note,) if note else ())


@dataclass(slots=True)
class _Progress:
    """What is known by now, so that it survives when the time runs out."""

    proofs: list[Proof] = field(default_factory=list[Proof])
    notes: list[str] = field(default_factory=list[str])


async def write_missing(
    task: Task,
    context: AgentContext,
    subject: tuple[Layout, Tree, Mapping[str, ChangedFile]],
    bench: Bench,
    known: frozenset[str],
) -> Written:
    """Ask for tests of the changed sources, prove each, and propose a commit of the proven.

    ``known`` are the names of the tests at head. All of it takes at most three quarters of the
    time that the task has left, so that the rest of the step is told whatever happens here.
    """
    layout, tree, changed = subject
    sources = await _sources(task, context.reader, layout, tree, changed)
    if not sources:
        return nothing("No test was written: no source file of the change is in scope.")
    progress = _Progress()
    left = (task.deadline - context.clock.now()).total_seconds() * 0.75
    try:
        async with asyncio.timeout(left):
            support = await _support(context.reader, layout, changed)
            wishes = Options.of(task).wishes
            prover = Prover(bench, layout, wishes, known, support)
            await _work(task, context, sources, prover, progress)
    except TimeoutError:
        progress.notes.append("The time for writing tests ran out before all were proven.")
    except UserError as error:
        progress.notes.append(f"Writing tests ended early: {str(error).rstrip('.')}.")
    return _written(task, context, progress)


async def _work(
    task: Task,
    context: AgentContext,
    sources: Sequence[ChangedSource],
    prover: Prover,
    progress: _Progress,
) -> None:
    tried: list[Tried] = []
    for again in range(_ROUNDS):
        reply = await propose(task, context, prover.layout, sources, tried)
        if reply.answer is None or not reply.answer.tests:
            said = f"No test was written: {reply.obstacle}." if reply.obstacle else _NOTHING_MISSING
            progress.notes += [] if again else [said]
            return
        failed: list[Proof] = []
        for candidate, reason in _candidates(reply.answer, prover.layout, sources):
            if any(candidate.content == before.content for before in tried):
                continue
            proof = Proof(candidate, False, reason) if reason else await prover.prove(candidate)
            progress.proofs.append(proof)
            failed += [] if proof.holds else [proof]
        sources = [proof.candidate.source for proof in failed]
        tried = [_tried(proof) for proof in failed]
        if not failed:
            return


def _tried(proof: Proof) -> Tried:
    """Return a discarded test with what its last run printed, for a second attempt at it."""
    output = proof.runs[-1].excerpt if proof.runs else ""
    return Tried(proof.candidate.source.path, proof.candidate.content, proof.how, output)


def _candidates(
    answer: TestAnswer, layout: Layout, sources: Sequence[ChangedSource]
) -> Iterator[tuple[Candidate, str]]:
    """Yield each proposal with the reason why it is not even tried, empty if it is."""
    known = {source.path: source for source in sources}
    used: set[str] = set()
    for proposed in answer.tests:
        source = known.get(proposed.source)
        if source is None or source.path in used:
            continue
        used.add(source.path)
        content = proposed.content if proposed.content.endswith("\n") else proposed.content + "\n"
        title = " ".join(presentable(proposed.title).split())[:200]
        yield Candidate(source, source.target, title, content), unfit(proposed, layout)


async def _sources(
    task: Task,
    reader: Reader,
    layout: Layout,
    tree: Tree,
    changed: Mapping[str, ChangedFile],
) -> tuple[ChangedSource, ...]:
    """Read the changed files that tests can be written for, as they are and as they were."""
    ignore = globs.compile_all(task.ignore)
    wanted = [
        file
        for path, file in sorted(changed.items())
        if path.endswith(_EXTENSIONS.get(layout.language, ()))
        and file.status is not FileStatus.REMOVED
        and not layout.is_test(path)
        and is_own(path)
        and not globs.any_match(ignore, path)
    ][:_MAX_SOURCES]
    if not wanted:
        return ()
    now = await reader.read([file.path for file in wanted], at="head")
    then = await reader.read([file.previous_path or file.path for file in wanted], at="base")
    examples = await _examples(reader, layout, tree)
    found: list[ChangedSource] = []
    for file in wanted:
        target = _target(file.path, layout, tree, task.protected)
        text, before = now[file.path], then[file.previous_path or file.path]
        if target and (source := _source(text, before, target, examples)):
            found.append(source)
    return tuple(found)


def _source(now: FileText, then: FileText, target: str, example: str) -> ChangedSource | None:
    if now.text is None or len(now.text) > _MAX_TEXT:
        return None
    before = then.text if then.text is None or len(then.text) <= _MAX_TEXT else None
    hunks = compare(before or "", now.text)
    lines = frozenset(
        line.new for hunk in hunks for line in hunk.lines if line.kind == "+" and line.new
    )
    return ChangedSource(now.path, now.text, before, lines, target, example) if hunks else None


async def _examples(reader: Reader, layout: Layout, tree: Tree) -> str:
    """Return the text of the smallest test that says anything."""
    tests = [e for e in tree.entries if layout.is_test(e.path) and 100 < e.size < _MAX_TEXT]
    if not tests:
        return ""
    smallest = min(tests, key=lambda entry: (entry.size, entry.path)).path
    return (await texts_of(reader, [smallest])).get(smallest, "")


def _target(source: str, layout: Layout, tree: Tree, protected: Sequence[str]) -> str | None:
    """Return a path that is free, is a test's, and may be written; None if there is none."""
    taken = {entry.path for entry in tree.entries}
    links = {entry.path for entry in tree.entries if entry.mode in _LINKS}
    for mark in _MARKS:
        path = layout.test_path(source, mark)
        if path in taken:
            continue
        parts = path.split("/")
        above = {"/".join(parts[:count]) for count in range(1, len(parts))}
        sound = layout.is_test(path) and not refused_path(path, protected)
        return path if sound and not above & links else None
    return None


async def _support(
    reader: Reader, layout: Layout, changed: Mapping[str, ChangedFile]
) -> tuple[FileEdit, ...]:
    """Return the change's own helpers of tests, without which base could not run a new one."""
    prefix = f"{layout.fixtures}/"
    helpers = [
        path
        for path, file in sorted(changed.items())
        if file.status is not FileStatus.REMOVED
        and (path.startswith(prefix) or path.endswith("conftest.py"))
    ][:_MAX_SUPPORT]
    texts = await texts_of(reader, helpers)
    return tuple(FileEdit(path=path, content=text) for path, text in texts.items())


def _written(task: Task, context: AgentContext, progress: _Progress) -> Written:
    kept = [proof for proof in progress.proofs if proof.holds]
    notes = [*progress.notes, *(_note(proof) for proof in progress.proofs)]
    effects = _commit(task.change, kept)
    if kept and not effects:
        notes.append(f"They were not committed, because {not_its_own(task.change)}.")
        notes += [
            f"`{p.candidate.path}`:\n\n{block(presentable(p.candidate.content)[:6000])}"
            for p in kept
        ]
    return Written(
        effects=effects,
        artifacts=tuple(_artifacts(task, context, progress.proofs)),
        notes=tuple(notes),
        kept=tuple(proof.candidate.path for proof in kept),
    )


def _note(proof: Proof) -> str:
    verb = "Kept" if proof.holds else "Discarded"
    return f"{verb} {code(proof.candidate.path)} ({code(proof.candidate.title)}): {proof.how}."


def _commit(change: Change, kept: Sequence[Proof]) -> tuple[PushCommit, ...]:
    """Return one commit of the proven tests for the pull request's own branch."""
    if not kept or not_its_own(change):
        return ()
    names = ", ".join(proof.candidate.source.path for proof in kept)
    lines = [f"- {proof.candidate.path}: {proof.how}" for proof in kept]
    headline = f"Add tests for {names}"
    return (
        PushCommit(
            head_sha=change.head_sha,
            branch=change.head_ref,
            edits=tuple(proof.candidate.edit for proof in kept),
            headline=headline if len(headline) <= 72 else f"Add {len(kept)} tests",
            body="\n".join(["Each proved itself in the sandbox:", "", *lines])[:20_000],
        ),
    )


def _artifacts(task: Task, context: AgentContext, proofs: Sequence[Proof]) -> Iterator[Artifact]:
    now = context.clock.now()
    for proof in proofs:
        candidate = proof.candidate
        yield from (ran.artifact() for ran in proof.runs)
        if proof.holds:
            lines = candidate.content.splitlines()
            diff = difflib.unified_diff([], lines, "/dev/null", f"b/{candidate.path}", lineterm="")
            yield CodeVersion(
                path=candidate.path,
                base_sha=task.change.head_sha,
                content=candidate.content,
                diff="\n".join(diff),
                headline=candidate.title,
            )
        digest = hashlib.sha256(candidate.content.encode("utf-8", "replace")).hexdigest()[:12]
        yield Learned(
            outcome=Outcome(
                kind="test_kept" if proof.holds else "test_discarded",
                agent=task.agent,
                subject=(candidate.title or candidate.path)[:300],
                why=proof.how,
                paths=(candidate.source.path, candidate.path),
                category="testing",
                source=f"{task.run_id}/{task.step}/{digest}",
                at=now,
            )
        )
