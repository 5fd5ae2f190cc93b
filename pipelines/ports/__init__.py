"""What the core asks of the outside: small Protocols, and the records that pass through them."""

from pipelines.ports.reading import FileText, Reader, Snapshot, Source, Tree, TreeEntry
from pipelines.ports.running import AgentRunner, Notes, Tally, Workplace
from pipelines.ports.storage import (
    ABSENT,
    PATIENT,
    URGENT,
    USUAL,
    Append,
    Batch,
    Journal,
    Lease,
    Message,
    Versioned,
    Write,
)
from pipelines.ports.system import Clock, Ids, Rng
from pipelines.ports.writing import CheckState, Receipt, Reporter

__all__ = [
    "ABSENT",
    "PATIENT",
    "URGENT",
    "USUAL",
    "AgentRunner",
    "Append",
    "Batch",
    "CheckState",
    "Clock",
    "FileText",
    "Ids",
    "Journal",
    "Lease",
    "Message",
    "Notes",
    "Reader",
    "Receipt",
    "Reporter",
    "Rng",
    "Snapshot",
    "Source",
    "Tally",
    "Tree",
    "TreeEntry",
    "Versioned",
    "Workplace",
    "Write",
]
