"""What a parcel costs: bands of weight, and a factor for each zone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from parcels.money import Money


@dataclass(frozen=True)
class Band:
    """Parcels up to this weight, and what they cost in the home zone."""

    up_to_grams: int
    price: Money


@dataclass(frozen=True)
class Tariff:
    """All that is needed to price a parcel."""

    bands: Sequence[Band]
    zones: Mapping[str, Decimal]
    insurance_per_hundred: Money

    @property
    def heaviest_grams(self) -> int:
        """No parcel is heavier."""
        return self.bands[-1].up_to_grams

    def band_for(self, grams: int) -> Band:
        """The first band that the weight fits into; its own limit still does."""
        for band in self.bands:
            if grams <= band.up_to_grams:
                return band
        raise ValueError(f"a parcel weighs at most {self.heaviest_grams} g, this one {grams} g")


STANDARD = Tariff(
    bands=(
        Band(1_000, Money.of("4.90")),
        Band(5_000, Money.of("6.90")),
        Band(10_000, Money.of("9.90")),
        Band(31_500, Money.of("17.90")),
    ),
    zones={"home": Decimal(1), "union": Decimal("1.8"), "world": Decimal("3.25")},
    insurance_per_hundred=Money.of("0.55"),
)
