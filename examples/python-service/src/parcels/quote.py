"""Quotes: pure, so that every rule of the tariff can be tested without a server."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, InvalidOperation

from parcels.money import Money
from parcels.tariff import STANDARD, Tariff


class InvalidParcel(ValueError):
    """What was asked for is no parcel that is carried; the text is for whoever asked."""


@dataclass(frozen=True)
class Parcel:
    """What somebody wants to send."""

    grams: int
    zone: str
    insured: Decimal = Decimal(0)


@dataclass(frozen=True)
class Quote:
    """What it costs, and why."""

    parcel: Parcel
    carriage: Money
    insurance: Money

    @property
    def total(self) -> Money:
        """All of it."""
        return self.carriage + self.insurance

    def as_json(self) -> dict[str, str | int]:
        """As the service answers; amounts are texts, for a JSON number is a float."""
        return {
            "grams": self.parcel.grams,
            "zone": self.parcel.zone,
            "carriage": str(self.carriage),
            "insurance": str(self.insurance),
            "total": str(self.total),
        }


def parse_parcel(fields: dict[str, str]) -> Parcel:
    """A parcel from what a user has typed.

    Raises:
        InvalidParcel: a field is missing or is no number.
    """
    try:
        grams = int(fields["grams"])
        insured = Decimal(fields.get("insured", "0"))
    except KeyError as missing:
        raise InvalidParcel(f"{missing.args[0]} is missing") from missing
    except (ValueError, InvalidOperation) as error:
        raise InvalidParcel("grams and insured must be numbers") from error
    return Parcel(grams=grams, zone=fields.get("zone", "home"), insured=insured)


def quote(parcel: Parcel, tariff: Tariff = STANDARD) -> Quote:
    """Prices a parcel.

    Raises:
        InvalidParcel: no parcel like this is carried.
    """
    if parcel.grams <= 0:
        raise InvalidParcel("a parcel weighs something")
    if not parcel.insured.is_finite() or parcel.insured < 0:
        raise InvalidParcel("a parcel is insured for an amount that is not negative")
    if parcel.zone not in tariff.zones:
        raise InvalidParcel(f"the zones are {', '.join(tariff.zones)}")
    try:
        band = tariff.band_for(parcel.grams)
    except ValueError as error:
        raise InvalidParcel(str(error)) from error
    hundreds = (parcel.insured / 100).to_integral_value(rounding=ROUND_CEILING)
    return Quote(
        parcel=parcel,
        carriage=band.price.times(tariff.zones[parcel.zone]),
        insurance=tariff.insurance_per_hundred.times(hundreds),
    )
