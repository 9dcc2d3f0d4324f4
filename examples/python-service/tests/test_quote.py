"""Every rule of the tariff."""

from decimal import Decimal

import pytest

from parcels.quote import InvalidParcel, Parcel, parse_parcel, quote


@pytest.mark.parametrize(
    ("grams", "expected"),
    [(1, "4.90"), (1_000, "4.90"), (1_001, "6.90"), (5_000, "6.90"), (31_500, "17.90")],
)
def test_the_limit_of_a_band_belongs_to_it(grams: int, expected: str) -> None:
    assert str(quote(Parcel(grams=grams, zone="home")).carriage) == expected


def test_a_zone_multiplies_the_carriage_and_not_the_insurance() -> None:
    priced = quote(Parcel(grams=900, zone="world", insured=Decimal(250)))
    assert (str(priced.carriage), str(priced.insurance)) == ("15.92", "1.65")
    assert str(priced.total) == "17.57"


@pytest.mark.parametrize(
    ("parcel", "why"),
    [
        (Parcel(grams=0, zone="home"), "weighs something"),
        (Parcel(grams=31_501, zone="home"), "at most 31500 g"),
        (Parcel(grams=1, zone="moon"), "the zones are home, union, world"),
        (Parcel(grams=1, zone="home", insured=Decimal(-1)), "not negative"),
        (Parcel(grams=1, zone="home", insured=Decimal("NaN")), "not negative"),
    ],
)
def test_says_why_a_parcel_is_not_carried(parcel: Parcel, why: str) -> None:
    with pytest.raises(InvalidParcel, match=why):
        quote(parcel)


def test_reads_what_a_user_has_typed() -> None:
    assert parse_parcel({"grams": "5", "insured": "1.50"}) == Parcel(5, "home", Decimal("1.50"))


@pytest.mark.parametrize(
    ("fields", "why"),
    [({}, "grams is missing"), ({"grams": "a"}, "must be numbers")],
)
def test_says_what_is_wrong_with_it(fields: dict[str, str], why: str) -> None:
    with pytest.raises(InvalidParcel, match=why):
        parse_parcel(fields)
