"""Amounts of money, exact to the cent."""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

_CENT = Decimal("0.01")


@dataclass(frozen=True, order=True)
class Money:
    """An amount in euros."""

    amount: Decimal

    @classmethod
    def of(cls, text: str) -> "Money":
        """Reads an amount such as ``4.90``; never from a float, which would not be exact."""
        return cls(Decimal(text)).rounded()

    def rounded(self) -> "Money":
        """To the cent; a half goes to the even one, so that many quotes do not add up to more."""
        return Money(self.amount.quantize(_CENT, rounding=ROUND_HALF_EVEN))

    def times(self, factor: Decimal) -> "Money":
        """So many of it, to the cent."""
        return Money(self.amount * factor).rounded()

    def __add__(self, other: "Money") -> "Money":
        return Money(self.amount + other.amount)

    def __str__(self) -> str:
        return f"{self.amount:.2f}"
