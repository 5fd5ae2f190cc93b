"""Reading a page in Prometheus' text format."""

import math
from collections.abc import Container

from prometheus_client.parser import text_string_to_metric_families

from pipelines.errors import UserError
from pipelines.integrations.observability.evaluation import series_key
from pipelines.integrations.observability.samples import MAX_SERIES

_MAX_LABELS = 1_000


def read(text: str, wanted: Container[str]) -> dict[str, float]:
    """Return the values of the wanted metrics by series; raises UserError for another format.

    Values that are no numbers are left out. A series that stands there twice counts as it stands
    last.
    """
    values: dict[str, float] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name in wanted and math.isfinite(sample.value):
                    _put(values, series_key(sample.name, sample.labels), sample.value)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise UserError("the metrics page is not in Prometheus' text format") from error
    return values


def _put(values: dict[str, float], key: str, value: float) -> None:
    if len(key) > _MAX_LABELS:
        raise UserError(f"the metrics page has a series with more than {_MAX_LABELS} characters")
    values[key] = float(value)
    if len(values) > MAX_SERIES:
        raise UserError(f"the metrics page has more than {MAX_SERIES} series of what is watched")
