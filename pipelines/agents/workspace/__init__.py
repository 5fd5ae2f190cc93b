"""The files of a commit with an agent's edits laid over them, in memory."""

from pipelines.agents.workspace.difference import FileChange
from pipelines.agents.workspace.files import Refused, Workspace, WorkspaceError
from pipelines.agents.workspace.search import Found, Query

__all__ = ["FileChange", "Found", "Query", "Refused", "Workspace", "WorkspaceError"]
