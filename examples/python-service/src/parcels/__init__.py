"""Quotes the price of a parcel."""

__version__ = "1.4.0"
