"""rng -> sentences: a small task of names, numbers, dates, times, commands and addresses.

Letters and short similar words make it difficult. The article "A" does not occur, since A is a
letter.
"""

from collections.abc import Callable

import numpy as np

Words = list[str]


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
DIGITS = words_of("ZERO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT NINE")
TEENS = words_of("TEN ELEVEN TWELVE THIRTEEN FOURTEEN FIFTEEN SIXTEEN SEVENTEEN EIGHTEEN NINETEEN")
TENS = words_of("TWENTY THIRTY FORTY FIFTY SIXTY SEVENTY EIGHTY NINETY")
ORDINALS = words_of(
    "FIRST SECOND THIRD FOURTH FIFTH SIXTH SEVENTH EIGHTH NINTH TENTH ELEVENTH TWELFTH "
    "THIRTEENTH FOURTEENTH FIFTEENTH SIXTEENTH SEVENTEENTH EIGHTEENTH NINETEENTH"
)
DAYS = words_of("MONDAY TUESDAY WEDNESDAY THURSDAY FRIDAY SATURDAY SUNDAY")
MONTHS = words_of(
    "JANUARY FEBRUARY MARCH APRIL MAY JUNE JULY AUGUST SEPTEMBER OCTOBER NOVEMBER DECEMBER"
)
FIRST_NAMES = words_of(
    "JOHN MARY ANN DON DAN TIM KIM JIM TOM PAM SAM BEN KEN JEAN DEAN PAUL PETER PETRA MARK MARTHA "
    "ALAN ELLEN HELEN SARAH LAURA"
)
LAST_NAMES = words_of(
    "SMITH BROWN GREEN WHITE BLACK BAKER PARKER BARKER MILLER TAYLOR WALKER COOPER HOOPER COLLINS "
    "HOLLAND HARRIS MORRIS NORRIS WATSON WILSON NELSON ADAMS"
)
ROOMS = words_of("KITCHEN BEDROOM BATHROOM OFFICE GARAGE GARDEN HALL")
DEVICES = words_of("LIGHT LAMP FAN HEATER RADIO CAMERA DOOR")
STREETS = words_of("STREET ROAD LANE AVENUE COURT DRIVE SQUARE")
PLACES = words_of("BOSTON AUSTIN DENVER DOVER LONDON LEEDS LUTON DALLAS PARIS MADRID")


def one_of(rng: np.random.Generator, *choices: str) -> str:
    """One of the words, uniformly."""
    return choices[int(rng.integers(len(choices)))]


def below_hundred(rng: np.random.Generator) -> Words:
    """A number from one to ninety-nine."""
    kind = rng.integers(4)
    if kind == 0:
        return [one_of(rng, *DIGITS[1:])]
    if kind == 1:
        return [one_of(rng, *TEENS)]
    if kind == 2:
        return [one_of(rng, *TENS)]
    return [one_of(rng, *TENS), one_of(rng, *DIGITS[1:])]


def number(rng: np.random.Generator) -> Words:
    """A number from 1 to 9099."""
    kind = rng.integers(3)
    if kind == 0:
        return below_hundred(rng)
    if kind == 1:
        return [one_of(rng, *DIGITS[1:]), "HUNDRED", *below_hundred(rng)]
    return [one_of(rng, *DIGITS[1:]), "THOUSAND", *below_hundred(rng)]


def day_of_month(rng: np.random.Generator) -> Words:
    """The ordinal of a day."""
    day = int(rng.integers(1, 32))
    if day < 20:
        return [ORDINALS[day - 1]]
    if day in (20, 30):
        return ["TWENTIETH" if day == 20 else "THIRTIETH"]
    return [TENS[day // 10 - 2], ORDINALS[day % 10 - 1]]


def time_of_day(rng: np.random.Generator) -> Words:
    """An hour, with minutes or a time of day in one of the usual forms."""
    hour = one_of(rng, *DIGITS[1:], *TEENS[:3])
    kind = rng.integers(4)
    if kind == 0:
        return [hour, one_of(rng, "THIRTY", "FIFTEEN", "FORTY", "FIFTY", "TWENTY", "TEN")]
    if kind == 1:
        return [hour, one_of(rng, "THIRTY", "FORTY", "FIFTY"), one_of(rng, *DIGITS[1:])]
    if kind == 2:
        return [one_of(rng, "HALF", "QUARTER", "TEN", "FIVE"), "PAST", hour]
    return [hour, one_of(rng, "MORNING", "EVENING", "NOON", "TONIGHT", "TODAY", "TOMORROW")]


def spelled_name(rng: np.random.Generator) -> Words:
    """Up to eight letters of a name or at random, sometimes after a verb."""
    if rng.random() < 0.5:
        letters = list(one_of(rng, *FIRST_NAMES, *LAST_NAMES, *PLACES))[:8]
    else:
        letters = [one_of(rng, *LETTERS) for _ in range(rng.integers(3, 8))]
    return [one_of(rng, "SPELL", "ENTER", "NAME"), *letters] if rng.random() < 0.4 else letters


def code(rng: np.random.Generator) -> Words:
    """A verb, then letters and digits."""
    body = [one_of(rng, *LETTERS, *DIGITS, *DIGITS) for _ in range(rng.integers(3, 7))]
    return [one_of(rng, "CODE", "ENTER", "ERASE", "REPEAT"), *body]


def date(rng: np.random.Generator) -> Words:
    """A date, sometimes with its weekday or year."""
    words = [one_of(rng, *MONTHS), *day_of_month(rng)]
    kind = rng.integers(3)
    if kind == 0:
        return [one_of(rng, *DAYS), *words]
    if kind == 1:
        return [*words, one_of(rng, "NINETEEN", "TWENTY"), *below_hundred(rng)]
    return words


def telephone(rng: np.random.Generator) -> Words:
    """A command to a telephone."""
    kind = rng.integers(3)
    if kind == 0:
        return [one_of(rng, "DIAL", "CALL"), *(one_of(rng, *DIGITS) for _ in range(7))]
    person = [one_of(rng, *FIRST_NAMES), one_of(rng, *LAST_NAMES)]
    if kind == 1:
        return [one_of(rng, "CALL", "PHONE", "FIND", "ANSWER", "TELL"), *person]
    return ["SEND", one_of(rng, "MAIL", "NOTE", "TEXT"), "TO", *person]


def command(rng: np.random.Generator) -> Words:
    """A command to a house."""
    kind = rng.integers(4)
    if kind == 0:
        verb, state = one_of(rng, "TURN", "SWITCH"), one_of(rng, "ON", "OFF")
        # Not "turn on the": the synthesiser gives no word boundary within ON THE.
        return [verb, "THE", one_of(rng, *ROOMS), one_of(rng, *DEVICES), state]
    if kind == 1:
        return ["SET", "THE", one_of(rng, "ALARM", "TIMER", "CLOCK"), "FOR", *time_of_day(rng)]
    if kind == 2:
        verb = one_of(rng, "OPEN", "CLOSE", "LOCK", "UNLOCK", "SHOW", "START", "STOP")
        return [verb, "THE", one_of(rng, *ROOMS), one_of(rng, *DEVICES)]
    what = one_of(rng, "VOLUME", "HEATER", "COUNT", "AMOUNT")
    return ["SET", "THE", what, "TO", *number(rng), *units(rng)]


def units(rng: np.random.Generator) -> Words:
    """A unit of measurement, or no word."""
    return [one_of(rng, "DEGREES", "PERCENT", "MINUTES", "DOLLARS")] if rng.random() < 0.6 else []


def address(rng: np.random.Generator) -> Words:
    """A house number and a street, sometimes with a town."""
    words = [*below_hundred(rng), one_of(rng, *LAST_NAMES, *FIRST_NAMES), one_of(rng, *STREETS)]
    return [*words, one_of(rng, *PLACES)] if rng.random() < 0.5 else words


def appointment(rng: np.random.Generator) -> Words:
    """A verb, a person, a day and a time."""
    verb = one_of(rng, "MEET", "REMIND", "BOOK", "CANCEL")
    return [verb, one_of(rng, *FIRST_NAMES, *LAST_NAMES), one_of(rng, *DAYS), *time_of_day(rng)]


TASKS: tuple[Callable[[np.random.Generator], Words], ...] = (
    spelled_name,
    code,
    number,
    date,
    time_of_day,
    telephone,
    command,
    address,
    appointment,
)
MAX_WORDS = 10


def sentence(rng: np.random.Generator) -> tuple[str, ...]:
    """A sentence of two to ten words in upper case."""
    while True:
        words = TASKS[int(rng.integers(len(TASKS)))](rng)
        if 2 <= len(words) <= MAX_WORDS:
            return tuple(words)
