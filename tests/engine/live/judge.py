"""The official OpenAPI document as judge of what is sent and what is answered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

DATA_DOCUMENT = Path(__file__).resolve().parents[4] / "shared" / "alpaca" / "market-data-api.json"
DOCUMENT = Path(__file__).resolve().parents[4] / "shared" / "alpaca" / "trading-api.json"

PAPER = "https://paper-api.alpaca.markets"


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, without the values of the headers that hold the keys."""

    method: str
    target: str
    headers: dict[str, str]
    sent: bytes
    status: int | None
    answered: bytes


class Judge:
    """Holds exchanges against the document.

    The document's known gaps are let through here and nowhere else: the calendar is asked for days, where it says
    date-time; refusals of orders and too many requests are not described, and neither is an id that is not known.

    Attributes:
        undescribed: (method, path, status) that the document does not know.
    """

    def __init__(self, document: Path = DOCUMENT):
        from openapi_core import Config, OpenAPI

        self.spec = json.loads(document.read_text(encoding="utf-8"))
        self.host = self.spec["servers"][0]["url"] if document == DATA_DOCUMENT else PAPER
        for name in {"legacy_start", "legacy_end"} & set(self.spec["components"]["parameters"]):
            self.spec["components"]["parameters"][name]["schema"]["format"] = "date"
        self.api = OpenAPI.from_dict(self.spec, config=Config(spec_validator_cls=None))
        self.undescribed: set[tuple[str, str, int]] = set()

    def violations(self, exchange: Exchange) -> list[str]:
        """What is wrong with a request or its answer; an answer that never came is not judged."""
        from openapi_core.exceptions import OpenAPIError
        from openapi_core.templating.responses.exceptions import ResponseNotFound
        from openapi_core.testing import MockRequest, MockResponse

        parts = urlsplit(exchange.target)
        what = f"{exchange.method} {exchange.target}"
        query = dict(parse_qsl(parts.query))
        request = MockRequest(
            self.host, exchange.method.lower(), parts.path, args=query, headers=exchange.headers,
            data=exchange.sent or None, content_type=exchange.headers.get("content-type", ""),
        )  # fmt: skip
        found = [f"{what}: {name} is not of the document" for name in self._unknown(exchange, parts.path, query)]
        try:
            self.api.validate_request(request)
        except OpenAPIError as error:
            found.append(f"{what}: sent: {_whole(error)}")
        if exchange.status is None:
            return found
        response = MockResponse(exchange.answered, status_code=exchange.status, content_type="application/json")
        try:
            self.api.validate_response(request, response)
        except ResponseNotFound:
            self.undescribed.add((exchange.method, self._template(parts.path), exchange.status))
        except OpenAPIError as error:
            found.append(f"{what}: answered {exchange.status}: {_whole(error)}")
        return found

    def _template(self, path: str) -> str:
        """A path as the document names it."""
        if path in self.spec["paths"]:
            return path
        return next(t for t in self.spec["paths"] if re.fullmatch(re.sub(r"{\w+}", "[^/:]+", t), path))

    def _unknown(self, exchange: Exchange, path: str, query: dict) -> list[str]:
        """Names that were sent and are not in the document, which does not forbid them."""
        operation = self.spec["paths"][self._template(path)][exchange.method.lower()]
        parameters = [self._resolved(item) for item in operation.get("parameters", ())]
        unknown = sorted(set(query) - {item["name"] for item in parameters if item["in"] == "query"})
        if exchange.sent:
            schema = self._resolved(operation["requestBody"]["content"]["application/json"]["schema"])
            unknown += sorted(set(json.loads(exchange.sent)) - set(schema["properties"]))
        return unknown

    def _resolved(self, item: dict) -> dict:
        while "$ref" in item:
            found = self.spec
            for part in item["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            item = found
        return item


#: What has been judged in this process, by what the document can tell apart.
_judged: set[tuple] = set()


@cache
def _judge(document: Path) -> Judge:
    return Judge(document)


def broken(exchanges: Iterable[Exchange]) -> list[str]:
    """What is wrong with exchanges; one of each kind is judged, and nothing where the document is not there."""
    if not DOCUMENT.is_file():
        return []
    found = []
    for exchange in exchanges:
        kind = _kind(exchange)
        if kind not in _judged:
            _judged.add(kind)
            of_data = urlsplit(exchange.target).path.startswith("/v2/stocks")
            found += _judge(DATA_DOCUMENT if of_data else DOCUMENT).violations(exchange)
    return found


def _kind(exchange: Exchange) -> tuple:
    """Path, fields and words of a request and its answer, without the figures."""
    parts = urlsplit(exchange.target)
    texts = [text.decode("utf-8", "replace") for text in (exchange.sent, exchange.answered)]
    shapes = (frozenset(re.sub(r"[\d.:-]+|[0-9a-f]{8}-[0-9a-f-]{27}", "0", row) for row in text.split("}"))
              for text in texts)  # fmt: skip
    path = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", parts.path)
    return exchange.method, path, frozenset(dict(parse_qsl(parts.query))), exchange.status, *shapes


def _whole(error: BaseException | None) -> str:
    texts = []
    while error is not None:
        texts.append(f"{type(error).__name__} {error} " + "; ".join(map(str, getattr(error, "schema_errors", ()))))
        error = error.__cause__
    return " <- ".join(texts)[:600]
