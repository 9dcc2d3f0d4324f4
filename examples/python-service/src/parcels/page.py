"""A quote as a page to print."""

from jinja2 import Environment, PackageLoader, StrictUndefined

from parcels.quote import Quote

# What a user typed stands in the page, so everything is escaped.
# A name that is not there is an error, not a gap.
_environment = Environment(
    loader=PackageLoader("parcels"),
    autoescape=True,
    undefined=StrictUndefined,
)


def render(quote: Quote, reference: str) -> str:
    """The page, with the reference that the customer gave to it."""
    return _environment.get_template("quote.html").render(quote=quote, reference=reference)
