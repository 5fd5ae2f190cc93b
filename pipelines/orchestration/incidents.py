"""The monitor's incidents as they are counted: which have an issue, and how many began lately."""

from datetime import datetime, timedelta

from pipelines.orchestration.records import Incident, IncidentsRecord

INCIDENTS_KEPT = 500
_DAY = timedelta(days=1)


def begun(record: IncidentsRecord, fingerprint: str, now: datetime) -> IncidentsRecord:
    """Return the record with the incident open; unchanged if it is."""
    if fingerprint in known(record):
        return record
    others = [each for each in record.incidents if each.fingerprint != fingerprint]
    incidents = (*others, Incident(fingerprint=fingerprint, at=now))[-INCIDENTS_KEPT:]
    return record.model_copy(update={"incidents": incidents})


def closed(record: IncidentsRecord, fingerprint: str) -> IncidentsRecord:
    """Return the record with the incident closed, so that it counts as new when it comes back."""
    incidents = tuple(
        each.model_copy(update={"open": False}) if each.fingerprint == fingerprint else each
        for each in record.incidents
    )
    return record.model_copy(update={"incidents": incidents})


def known(record: IncidentsRecord) -> frozenset[str]:
    """Return the fingerprints that have an open issue."""
    return frozenset(each.fingerprint for each in record.incidents if each.open)


def new_today(record: IncidentsRecord, now: datetime) -> int:
    """Return how many began in the last 24 hours."""
    return sum(now - each.at < _DAY for each in record.incidents)
