"""Dates with a month's name, in the languages of the exchanges."""

from __future__ import annotations

import re
import unicodedata

import numpy as np
import pandas as pd

#: January to December; without accents, a name may be cut after three letters.
NAMES = (
    "january february march april may june july august september october november december",
    "januar februar marz april mai juni juli august september oktober november dezember",
    "janner feber maerz april mai juni juli august september oktober november dezember",
    "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "janvier fevrier mars avril mai juin juillet aout septembre octobre novembre decembre",
    "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "janeiro fevereiro marco abril maio junho julho agosto setembro outubro novembro dezembro",
    "januari februari maart april mei juni juli augustus september oktober november december",
    "januari februari mars april maj juni juli augusti september oktober november december",
    "januar februar marts april maj juni juli august september oktober november desember",
    "tammikuu helmikuu maaliskuu huhtikuu toukokuu kesakuu heinakuu elokuu syyskuu lokakuu marraskuu joulukuu",
    "stycznia lutego marca kwietnia maja czerwca lipca sierpnia wrzesnia pazdziernika listopada grudnia",
    "styczen luty marzec kwiecien maj czerwiec lipiec sierpien wrzesien pazdziernik listopad grudzien",
    "ocak subat mart nisan mayıs haziran temmuz agustos eylul ekim kasım aralık",
    "januari februari maret april mei juni juli agustus september oktober november desember",
    "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
    "январь февраль март апрель май июнь июль август сентябрь октябрь ноябрь декабрь",
)

_NUMBER = r"(\d{1,2})(?:st|nd|rd|th|er|\.|º)?"
_WORD = r"([^\W\d_]{3,})\.?"
_GAP = r"[\s,./-]*(?:de\s+|del\s+)?"

#: Where day, month and year stand, and the rest.
FORMS = (
    (re.compile(rf"^(?:[^\W\d_]+\.?,?\s+)?{_NUMBER}{_GAP}{_WORD}{_GAP}(\d{{4}}|\d{{2}})(?!\d)(.*)$"), (1, 2, 3)),
    (re.compile(rf"^(?:[^\W\d_]+\.?,?\s+)?{_WORD}{_GAP}{_NUMBER},?\s+(\d{{4}})(?!\d)(.*)$"), (2, 1, 3)),
    (re.compile(rf"^{_WORD}[-./]{_NUMBER}[-./](\d{{4}}|\d{{2}})(?!\d)(.*)$"), (2, 1, 3)),
    (re.compile(rf"^(\d{{4}}){_GAP}{_WORD}{_GAP}{_NUMBER}(?!\d)(.*)$"), (3, 2, 1)),
)
CLOCK = re.compile(r"^[\sT,]*(\d{1,2}):(\d\d)(?::\d\d(?:\.\d+)?)?\s*([AaPp])?")


def _folded(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c))


def _months() -> dict[str, int]:
    """Every name and its beginnings of three letters or more; what means two months is none. English comes first."""
    found: dict[str, set[int]] = {}
    for line in NAMES:
        for number, name in enumerate(_folded(line).split(), 1):
            for end in range(3, len(name) + 1):
                found.setdefault(name[:end], set()).add(number)
    english = {name[:end]: i for i, name in enumerate(NAMES[0].split(), 1) for end in range(3, len(name) + 1)}
    return {name: min(numbers) for name, numbers in found.items() if len(numbers) == 1} | english


MONTHS = _months()


def month_of(text: str) -> np.datetime64:
    """The moment that a text with a month's name means; NaT = none.

    >>> [str(month_of(text))[:10] for text in ("02. Mai 2024", "02-ene-2024", "Dez 31, 2024", "1 de agosto de 2023")]
    ['2024-05-02', '2024-01-02', '2024-12-31', '2023-08-01']
    """
    for form, (day, month, year) in FORMS:
        found = form.match(text)
        if found is None:
            continue
        number = MONTHS.get(_folded(found[month]))
        if number is None:
            continue
        full = int(found[year])
        full += 0 if full > 99 else 2000 if full < 70 else 1900
        try:
            date = pd.Timestamp(full, number, int(found[day]))
        except ValueError:
            return np.datetime64("NaT", "us")
        clock = CLOCK.match(found[4])
        if clock:
            hour = int(clock[1]) if not clock[3] else int(clock[1]) % 12 + 12 * (clock[3] in "Pp")
            date += pd.Timedelta(hours=hour, minutes=int(clock[2]))
        return date.to_datetime64().astype("datetime64[us]")
    return np.datetime64("NaT", "us")
