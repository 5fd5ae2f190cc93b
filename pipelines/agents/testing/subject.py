"""The repository at head as the tests see it, and what the change does to it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipelines.agents.testing.detection import detect_all, wanted
from pipelines.agents.testing.layout import Layout
from pipelines.model import ChangedFile
from pipelines.ports import Reader, Tree

_REGULAR = ("100644", "100755")


@dataclass(frozen=True, slots=True)
class Subject:
    """A tree, its layout, and the changed files by path."""

    tree: Tree
    layout: Layout | None
    others: tuple[Layout, ...]
    """Further layouts, which are named but not run."""
    changed: Mapping[str, ChangedFile]
    complete: bool
    """Whether the source listed every changed file."""

    @classmethod
    async def read(cls, reader: Reader) -> "Subject":
        """Read the tree, the files that tell the layout, and the listing of the change."""
        tree = await reader.tree(at="head")
        texts = await texts_of(reader, wanted(tree))
        layouts = detect_all(tree, texts)
        listing = await reader.changed_files()
        return cls(
            tree=tree,
            layout=layouts[0] if layouts else None,
            others=layouts[1:],
            changed={file.path: file for file in listing.files},
            complete=listing.complete,
        )

    @property
    def paths(self) -> frozenset[str]:
        """The regular files at head."""
        return frozenset(e.path for e in self.tree.entries if e.mode in _REGULAR)


async def texts_of(reader: Reader, paths: Iterable[str]) -> dict[str, str]:
    """Return the texts at head of those paths that have one."""
    wanted_paths = list(dict.fromkeys(paths))
    if not wanted_paths:
        return {}
    files = await reader.read(wanted_paths, at="head")
    return {path: file.text for path, file in files.items() if file.text is not None}
