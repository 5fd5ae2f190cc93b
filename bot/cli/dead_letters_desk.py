"""What ``conductor dead-letters`` does."""

from bot.cli.opened import Opened, with_store
from bot.cli.words import as_table, in_short, to_json
from pipelines.errors import UserError
from pipelines.orchestration.bus.dead import DeadLetter, DeadLetters
from pipelines.ports import Message


def listing(limit: int, after: str, *, as_json: bool) -> str:
    """Return what was given up, as a table or as JSON."""
    found = with_store(lambda opened: _letters(opened).list(limit=limit, after=after))
    if as_json:
        return to_json([letter.model_dump(mode="json") for letter in found])
    if not found:
        return "Nothing was given up."
    return as_table(
        [
            (
                letter.message.id,
                letter.message.queue,
                letter.message.tenant,
                in_short(letter.buried_at),
                letter.reason,
            )
            for letter in found
        ]
    )


def details(message_id: str, *, as_json: bool) -> str:
    """Return one dead letter; UserError if there is none."""
    letter = with_store(lambda opened: _letter(opened, message_id))
    if as_json:
        return to_json(letter.model_dump(mode="json"))
    message = letter.message
    return "\n".join(
        [
            f"{message.id}  in {message.queue}, of installation and repository {message.tenant}",
            f"enqueued {in_short(message.enqueued_at)}, given up {in_short(letter.buried_at)}",
            letter.reason,
            to_json(message.body),
        ]
    )


def requeued(message_id: str, *, as_json: bool) -> str:
    """Put a message back and say so; UserError if there is no such dead letter."""

    async def requeuing(opened: Opened) -> Message:
        await _letter(opened, message_id)
        return await _letters(opened).requeue(message_id)

    message = with_store(requeuing, change=True)
    if as_json:
        return to_json({"message": message.id, "queue": message.queue})
    return f"{message.id} is in the queue {message.queue} again."


def _letters(opened: Opened) -> DeadLetters:
    return DeadLetters(opened.store, opened.bus, opened.clock)


async def _letter(opened: Opened, message_id: str) -> DeadLetter:
    letter = await _letters(opened).get(message_id)
    if letter is None:
        raise UserError(
            f"There is no dead letter {message_id!r}; `conductor dead-letters list` shows those "
            "there are."
        )
    return letter
