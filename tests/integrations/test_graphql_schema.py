"""Every GraphQL document is valid against GitHub's own public schema."""

from pathlib import Path

import pytest
from graphql import GraphQLSchema, build_schema, parse, validate

from bot.events.triggers import MAX_REVERTS
from bot.github.documents import MAX_BLOBS, blobs, contents, contributions, document

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "node_modules/@octokit/graphql-schema/schema.graphql"
QUERIES = ROOT / "bot/github/queries"
NAMES = sorted(path.stem for path in QUERIES.glob("*.graphql") if path.stem != "fragments")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not SCHEMA.exists(), reason="@octokit/graphql-schema is not installed: npm install it"
    ),
]


@pytest.fixture(scope="module")
def schema() -> GraphQLSchema:
    return build_schema(SCHEMA.read_text(), assume_valid=True, assume_valid_sdl=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_document_is_valid_for_github(schema: GraphQLSchema, name: str) -> None:
    assert validate(schema, parse(document(name))) == []


def test_the_largest_queries_for_files_are_valid_for_github(schema: GraphQLSchema) -> None:
    assert validate(schema, parse(contents(MAX_BLOBS))) == []
    assert validate(schema, parse(blobs(MAX_BLOBS))) == []


def test_the_question_who_brought_in_commits_is_valid_for_github(schema: GraphQLSchema) -> None:
    assert validate(schema, parse(contributions(MAX_REVERTS))) == []
