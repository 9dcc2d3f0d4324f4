"""Amounts are exact, and rounding favours nobody."""

from decimal import Decimal

import pytest

from parcels.money import Money


def test_is_exact() -> None:
    assert Money.of("0.10") + Money.of("0.20") == Money.of("0.30")


@pytest.mark.parametrize(
    ("amount", "factor", "expected"),
    [("4.90", "1.8", "8.82"), ("0.25", "0.5", "0.12"), ("0.35", "0.5", "0.18")],
)
def test_rounds_a_half_to_the_even_cent(amount: str, factor: str, expected: str) -> None:
    assert str(Money.of(amount).times(Decimal(factor))) == expected
