"""What the promises share: no tracebacks rendered for nobody."""

from collections.abc import Generator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _quiet() -> Generator[None]:
    """Tracebacks rendered for nobody cost seconds."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()
