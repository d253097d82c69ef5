"""How the dashboard writes values, written a second time, from what docs/dashboard.md says of it."""

import datetime
import unicodedata
from decimal import ROUND_HALF_UP, Decimal

NOTHING = "–"
LONGEST_NAME, END_OF_NAME = 72, 40


def shown(kind, value, now, currency, unit=None):
    """The text of a value."""
    if value is None:
        return NOTHING
    text = FORMATS[kind](value, now, currency)
    if not unit:
        return text
    return f"{text}{unit}" if unit.startswith("/") else f"{text} {unit}"


def grouped(value, places=0):
    """As ICU rounds: the number as it is written, half away from zero."""
    return f"{Decimal(repr(value)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):,}"


def fixed(value, places):
    """As `toFixed` rounds: the number as it is."""
    return str(Decimal(value).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))


def digits(value):
    if value == 0:
        return "0"
    if abs(value) >= 99.95:
        return grouped(value)
    return fixed(value, 1 if abs(value) >= 9.995 else 2)


def size(value):
    units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    unit = 0
    while value >= 1023.5 and unit < len(units) - 1:
        value /= 1024
        unit += 1
    return f"{digits(value) if unit else grouped(value)} {units[unit]}"


def latency(seconds):
    return f"{digits(seconds * 1000)} ms" if seconds < 0.9995 else f"{digits(seconds)} s"


def duration(seconds):
    if seconds < 59.95:
        return f"{int(seconds) if seconds == int(seconds) else digits(seconds)} s"
    whole = int(seconds)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next(index for index, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count)


def money(dollars, currency):
    if dollars >= 0.995:
        return f"{grouped(dollars, 2)} {currency}"
    if dollars >= 0.000001:
        exact = Decimal(dollars)
        return f"{exact.quantize(Decimal(1).scaleb(exact.adjusted() - 2), ROUND_HALF_UP):f} {currency}"
    return f"{'< 0.000001' if dollars > 0 else '0.00'} {currency}"


def moment(seconds, now):
    at, today = (datetime.datetime.fromtimestamp(t, datetime.timezone.utc) for t in (seconds, now))
    return f"{at:%H:%M:%S}" if at.date() == today.date() else f"{at:%Y-%m-%d %H:%M:%S}"


def visible(text):
    hidden = {"Cc", "Cf", "Zl", "Zp", "Co", "Cn", "Cs"}
    return "".join(f"\\u{{{ord(c):x}}}" if unicodedata.category(c) in hidden else c for c in text)


def words(name):
    return visible(name).replace("_", " ")


def counts(found):
    some = sorted(((count, name) for name, count in found.items() if count), key=lambda pair: -pair[0])
    return ", ".join(f"{count:,} {words(name)}" for count, name in some) or "none"


def name(text):
    text = visible(text)
    if len(text) <= LONGEST_NAME:
        return text
    return f"{text[: LONGEST_NAME - END_OF_NAME - 1]}…{text[-END_OF_NAME:]}"


FORMATS = {
    "count": lambda value, *_: grouped(value),
    "number": lambda value, *_: digits(value),
    "bytes": lambda value, *_: size(value),
    "ratio": lambda value, *_: f"{fixed(value * 100, 1)} %",
    "factor": lambda value, *_: f"{digits(value)} ×",
    "latency": lambda value, *_: latency(value),
    "duration": lambda value, *_: duration(value),
    "money": lambda value, _, currency: money(value, currency),
    "time": lambda value, now, _: moment(value, now),
    "map": lambda value, *_: counts(value),
    "list": lambda value, *_: ", ".join(map(visible, value)) or "none",
    "state": lambda value, *_: words(value),
    "text": lambda value, *_: visible(str(value)),
    "name": lambda value, *_: name(value),
    "object": lambda value, *_: name(f"{value['bucket']}/{value['key']}"),
}
