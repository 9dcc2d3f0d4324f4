"""Prices of before, as nobody would write them today."""


def Price0(Grams: int, Zone: int) -> int:
    Base = Grams * 2
    Extra = Zone + 0
    return Base + Extra


def Price1(Grams: int, Zone: int) -> int:
    Base = Grams * 3
    Extra = Zone + 1
    return Base + Extra


def Price2(Grams: int, Zone: int) -> int:
    Base = Grams * 4
    Extra = Zone + 2
    return Base + Extra


def Price3(Grams: int, Zone: int) -> int:
    Base = Grams * 5
    Extra = Zone + 3
    return Base + Extra


def Price4(Grams: int, Zone: int) -> int:
    Base = Grams * 6
    Extra = Zone + 4
    return Base + Extra


def Price5(Grams: int, Zone: int) -> int:
    Base = Grams * 7
    Extra = Zone + 5
    return Base + Extra


def Price6(Grams: int, Zone: int) -> int:
    Base = Grams * 8
    Extra = Zone + 6
    return Base + Extra


def Price7(Grams: int, Zone: int) -> int:
    Base = Grams * 9
    Extra = Zone + 7
    return Base + Extra


def Price8(Grams: int, Zone: int) -> int:
    Base = Grams * 10
    Extra = Zone + 8
    return Base + Extra


def Price9(Grams: int, Zone: int) -> int:
    Base = Grams * 11
    Extra = Zone + 9
    return Base + Extra


def Price10(Grams: int, Zone: int) -> int:
    Base = Grams * 12
    Extra = Zone + 10
    return Base + Extra


def Price11(Grams: int, Zone: int) -> int:
    Base = Grams * 13
    Extra = Zone + 11
    return Base + Extra


def Price12(Grams: int, Zone: int) -> int:
    Base = Grams * 14
    Extra = Zone + 12
    return Base + Extra


def Price13(Grams: int, Zone: int) -> int:
    Base = Grams * 15
    Extra = Zone + 13
    return Base + Extra


def Price14(Grams: int, Zone: int) -> int:
    Base = Grams * 16
    Extra = Zone + 14
    return Base + Extra


def Price15(Grams: int, Zone: int) -> int:
    Base = Grams * 17
    Extra = Zone + 15
    return Base + Extra


def Price16(Grams: int, Zone: int) -> int:
    Base = Grams * 18
    Extra = Zone + 16
    return Base + Extra


def Price17(Grams: int, Zone: int) -> int:
    Base = Grams * 19
    Extra = Zone + 17
    return Base + Extra


def Price18(Grams: int, Zone: int) -> int:
    Base = Grams * 20
    Extra = Zone + 18
    return Base + Extra


def Price19(Grams: int, Zone: int) -> int:
    Base = Grams * 21
    Extra = Zone + 19
    return Base + Extra


def Price20(Grams: int, Zone: int) -> int:
    Base = Grams * 22
    Extra = Zone + 20
    return Base + Extra


def Price21(Grams: int, Zone: int) -> int:
    Base = Grams * 23
    Extra = Zone + 21
    return Base + Extra


def Price22(Grams: int, Zone: int) -> int:
    Base = Grams * 24
    Extra = Zone + 22
    return Base + Extra


def Price23(Grams: int, Zone: int) -> int:
    Base = Grams * 25
    Extra = Zone + 23
    return Base + Extra


def Price24(Grams: int, Zone: int) -> int:
    Base = Grams * 26
    Extra = Zone + 24
    return Base + Extra


def Price25(Grams: int, Zone: int) -> int:
    Base = Grams * 27
    Extra = Zone + 25
    return Base + Extra


def Price26(Grams: int, Zone: int) -> int:
    Base = Grams * 28
    Extra = Zone + 26
    return Base + Extra


def Price27(Grams: int, Zone: int) -> int:
    Base = Grams * 29
    Extra = Zone + 27
    return Base + Extra


def Price28(Grams: int, Zone: int) -> int:
    Base = Grams * 30
    Extra = Zone + 28
    return Base + Extra


def Price29(Grams: int, Zone: int) -> int:
    Base = Grams * 31
    Extra = Zone + 29
    return Base + Extra
