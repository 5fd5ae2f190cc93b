"""One self-contained page: no script, nothing fetched."""

from functools import cache

from jinja2 import Environment, PackageLoader, Template

from bot.cli.report import RunReport
from bot.reporting.render import clean


@cache
def _template() -> Template:
    environment = Environment(loader=PackageLoader("bot.cli"), autoescape=True, trim_blocks=True)
    environment.filters["clean"] = clean
    return environment.get_template("report.html")


def as_html(report: RunReport) -> str:
    """Return the page; every text in it is escaped."""
    return _template().render(report=report)
