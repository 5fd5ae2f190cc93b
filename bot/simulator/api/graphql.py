"""``POST /graphql``: parses, validates and executes against the simulator's part of the schema."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from graphql import (
    ExecutionResult,
    GraphQLError,
    GraphQLSchema,
    build_schema,
    execute,  # pyright: ignore[reportUnknownVariableType]  # bare generics in its signature
    parse,
    validate,
)
from pydantic import Field

from bot.simulator.errors import Refused
from bot.simulator.graph import links, mutations, query
from bot.simulator.graph.paging import Failure
from bot.simulator.protocol import GRAPHQL, Answer, Body, Call, Operation
from bot.simulator.world import Json


class Question(Body):
    """A GraphQL request."""

    query: str = ""
    variables: dict[str, Any] | None = Field(default=None)
    operationName: str | None = None  # noqa: N815  (the name on the wire)


@cache
def schema() -> GraphQLSchema:
    """The schema that is served."""
    text = files("bot.simulator.graph").joinpath("schema.graphql").read_text()
    return links.attach(build_schema(text))


async def handle(call: Call) -> Answer:
    """Answer a GraphQL request; what is wrong with it is in ``errors``, with status 200."""
    question = call.read(Question)
    if not question.query:
        return _errors([{"message": "A query attribute must be specified and must be a string."}])
    try:
        document = parse(question.query)
    except GraphQLError as error:
        return _errors([_shown(error)])
    if wrong := validate(schema(), document):
        return _errors([_shown(error) for error in wrong])
    assert call.token, "GraphQL is for installation tokens"
    fields = {**query.root(call), **mutations.root(call)}
    result = execute(
        schema(),
        document,
        fields,
        context_value=call,
        variable_values=question.variables,
        operation_name=question.operationName,
    )
    done = result if isinstance(result, ExecutionResult) else await result
    answer: Json = {"data": done.data}
    if done.errors:
        answer["errors"] = [_shown(error) for error in done.errors]
    return Answer(answer)


def _errors(errors: Sequence[Json]) -> Answer:
    return Answer({"errors": list(errors)})


def _shown(error: GraphQLError) -> Json:
    shown: Json = {"message": error.message}
    cause = error.original_error
    if isinstance(cause, Failure):
        shown["type"] = cause.kind
    elif isinstance(cause, Refused):
        shown["type"] = "UNPROCESSABLE"
    elif cause is not None:
        raise cause
    if error.path:
        shown["path"] = list(error.path)
    if error.locations:
        shown["locations"] = [{"line": at.line, "column": at.column} for at in error.locations]
    return shown


OPERATIONS = (Operation("POST", GRAPHQL, handle),)
