"""What every request meets: ids, bounds, origins, headers, the log."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ecokart.core.ports import Ports
from ecokart.engines.faulty import Chaos, Faults, faulty
from ecokart.web.logs import LogWriter
from tests.features.conftest import DANA
from tests.shop import Shop, running_shop

GUEST = {"Cookie": f"ecokart_guest={'0' * 32}"}
JSON = {"Content-Type": "application/json"}


def _problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    document: dict[str, Any] = answer.json()
    return document


async def test_problems_are_told_by_rfc_9457(demo: Shop) -> None:
    document = _problem(await demo.client.get("/api/nothing"), 404, "not_found")
    assert document == {
        "type": "about:blank",
        "title": "There is nothing here",
        "status": 404,
        "code": "not_found",
        "requestId": document["requestId"],
    }


async def test_people_get_a_page_where_programs_get_a_document(demo: Shop) -> None:
    answer = await demo.client.get("/nothing", headers={"Accept": "text/html,*/*"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PATCH", "/api/cart", "GET, HEAD, POST"),
        ("GET", "/auth/login", "POST"),
        ("DELETE", "/api/products/prod-001", "GET, HEAD"),
        ("GET", "/api/cart/items/EK-001", "DELETE, PUT"),
        ("TRACE", "/api/products", "GET, HEAD"),
    ],
)
async def test_a_method_that_is_not_taken(demo: Shop, method: str, path: str, allow: str) -> None:
    answer = await demo.client.request(method, path)
    _problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allow


# Bodies.


@pytest.mark.parametrize(
    "body", ["", "{", "nul", '{"sku": "\\ud800"}', '{"a":' * 2000 + "1" + "}" * 2000]
)
async def test_what_is_no_json_is_a_bad_request(demo: Shop, body: str) -> None:
    answer = await demo.client.post("/api/cart", content=body, headers=JSON)
    assert _problem(answer, 400, "bad_request")["detail"].startswith("The body is no JSON: ")


async def test_bytes_that_are_no_text_are_a_bad_request(demo: Shop) -> None:
    answer = await demo.client.post("/api/cart", content=b'{"sku": "\xff"}', headers=JSON)
    _problem(answer, 400, "bad_request")


@pytest.mark.parametrize("body", ["[]", "null", "1", '"sku"', "[" * 100_000])
async def test_json_of_another_kind_is_invalid(demo: Shop, body: str) -> None:
    answer = await demo.client.post("/api/cart", content=body, headers=JSON)
    assert _problem(answer, 422, "invalid")["errors"][0]["field"] == ""


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "json"])
async def test_only_json_is_taken(demo: Shop, kind: str) -> None:
    headers = {"Content-Type": kind}
    answer = await demo.client.post("/api/cart", content='{"sku": "EK-001"}', headers=headers)
    _problem(answer, 415, "unsupported_media_type")


async def test_json_may_say_its_charset(shop: Shop) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    answer = await shop.client.post("/api/cart", content='{"sku": "EK-001"}', headers=headers)
    assert answer.status_code == 200


async def test_bodies_have_a_size(tmp_path: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 1000

    async with running_shop(tmp_path, seeded=False, max_body_bytes=20_000) as shop:
        declared = await shop.client.post("/api/cart", content=b" " * 20_001, headers=JSON)
        assert _problem(declared, 413, "body_too_large")["detail"] == "At most 20000 bytes."
        async with shop.browser() as browser:
            chunked = await browser.post("/api/cart", content=chunks(), headers=JSON)
        _problem(chunked, 413, "body_too_large")
        fitting = await shop.client.post("/api/cart", content=b" " * 20_000, headers=JSON)
        _problem(fitting, 400, "bad_request")


# Where a request comes from.


@pytest.mark.parametrize(
    ("site", "origin", "passes"),
    [
        (None, None, True),  # a program
        ("same-origin", "own", True),
        ("none", None, True),  # typed into the address bar
        ("same-site", None, False),
        ("cross-site", None, False),
        ("cross-site", "https://evil.example", False),
        ("same-site", "https://blog.shop.example", False),
        ("cross-site", "https://app.shop.example", True),  # allowed by the settings
        (None, "own", True),  # an old browser
        (None, "https://evil.example", False),
        (None, "null", False),
        (None, "https://app.shop.example.evil.example", False),
    ],
)
async def test_other_sites_cannot_change_anything(
    tmp_path: Path, site: str | None, origin: str | None, passes: bool
) -> None:
    async with running_shop(
        tmp_path, seeded=False, allowed_origins="https://app.shop.example"
    ) as shop:
        headers = {"Sec-Fetch-Site": site} if site else {}
        if origin:
            headers["Origin"] = shop.url if origin == "own" else origin
        changed = await shop.client.post("/api/cart", json={}, headers=headers)
        assert changed.json()["code"] == ("article_needed" if passes else "foreign_origin")
        assert (await shop.client.get("/api/cart", headers=headers)).status_code == 200


async def test_allowed_origins_may_read_the_answers(tmp_path: Path) -> None:
    ours, theirs = "https://app.shop.example", "https://evil.example"
    async with running_shop(
        tmp_path, seeded=False, allowed_origins=f"{ours}, https://b.example"
    ) as shop:
        answer = await shop.client.get("/api/products", headers={"Origin": ours})
        assert answer.headers["access-control-allow-origin"] == ours
        assert "ETag" in answer.headers["access-control-expose-headers"]
        asked = {"Origin": ours, "Access-Control-Request-Method": "POST"}
        asked["Access-Control-Request-Headers"] = "authorization, idempotency-key, content-type"
        preflight = await shop.client.options("/api/orders", headers=asked)
        assert (preflight.status_code, preflight.content) == (204, b"")
        assert preflight.headers["access-control-allow-origin"] == ours
        assert "POST" in preflight.headers["access-control-allow-methods"]
        refused = await shop.client.options("/api/orders", headers=asked | {"Origin": theirs})
        _problem(refused, 405, "method_not_allowed")
        assert "access-control-allow-origin" not in refused.headers
        other = await shop.client.get("/api/products", headers={"Origin": theirs})
        assert "access-control-allow-origin" not in other.headers


async def test_allowed_origins_may_read_problems_too(tmp_path: Path) -> None:
    ours = "https://app.shop.example"
    async with running_shop(tmp_path, seeded=False, allowed_origins=ours) as shop:
        answer = await shop.client.get("/api/products/none", headers={"Origin": ours})
        assert answer.status_code == 404
        assert answer.headers["access-control-allow-origin"] == ours


async def test_a_preflight_passes_the_edge_as_every_request_does(tmp_path: Path) -> None:
    ours = "https://app.shop.example"
    asked = {
        "Origin": ours,
        "Access-Control-Request-Method": "POST",
        "X-Request-ID": "the-question",
    }
    with written_log() as log:
        async with running_shop(
            tmp_path, seeded=False, allowed_origins=ours, log=log.writer
        ) as shop:
            answer = await shop.client.options("/api/orders", headers=asked)
    assert answer.headers["x-request-id"] == "the-question"
    assert answer.headers["x-content-type-options"] == "nosniff"
    (line,) = log.lines
    assert (line["method"], line["status"]) == ("OPTIONS", 204)


async def test_caches_keep_the_answers_to_other_origins_apart(tmp_path: Path) -> None:
    async with running_shop(tmp_path, seeded=False, allowed_origins="https://a.example") as shop:
        for origin in ("https://a.example", "https://b.example", ""):
            answer = await shop.client.get("/api/products", headers={"Origin": origin})
            assert "Origin" in answer.headers["vary"]


async def test_without_allowed_origins_nobody_elses_page_reads(demo: Shop) -> None:
    headers = {"Origin": "https://app.demo.example"}
    answer = await demo.client.get("/api/products", headers=headers)
    assert not [name for name in answer.headers if name.startswith("access-control")]


# How often.


async def test_an_address_may_ask_only_so_often(tmp_path: Path) -> None:
    async with running_shop(tmp_path, rate_limit=3, rate_window_seconds=300) as shop:
        codes = [(await shop.client.post("/auth/login", json=DANA)).status_code for _ in range(3)]
        assert codes == [200] * 3
        answer = await shop.client.post("/auth/login", json=DANA)
        _problem(answer, 429, "too_many")
        assert 1 <= int(answer.headers["retry-after"]) <= 300
        # Another bucket, and what isn't limited, are free.
        assert (await shop.client.post("/api/orders", json={})).status_code == 422
        assert (await shop.client.get("/api/products")).status_code == 200


# Headers.


async def test_a_request_keeps_its_id_or_gets_one(demo: Shop) -> None:
    own = await demo.client.get("/api/none", headers={"X-Request-ID": "order-form_7.1"})
    assert own.headers["x-request-id"] == own.json()["requestId"] == "order-form_7.1"
    for bad in ("short", "x" * 65, "with space", 'quote"quote', "<script>"):
        given = await demo.client.get("/api/none", headers={"X-Request-ID": bad})
        assert given.headers["x-request-id"] == given.json()["requestId"] != bad
        assert len(given.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    "path",
    ["/api/products", "/api/cart", "/api/none", "/", "/none", "/openapi.json", "/api", "/metrics",
     "/pictures/prod-001.svg", "/health/live"],
)  # fmt: skip
async def test_every_answer_is_guarded(demo: Shop, path: str) -> None:
    answer = await demo.client.get(path)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-request-id"]
    if answer.headers["content-type"].startswith(("text/html", "image/svg")):  # a document
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    else:
        assert "'self'" not in policy
    assert "strict-transport-security" not in answer.headers


async def test_with_tls_cookies_and_browsers_stay_with_it(tmp_path: Path) -> None:
    async with running_shop(tmp_path, public_url="https://shop.example/") as shop:
        answer = await shop.client.post("/api/cart", json={"productId": "prod-001"})
        assert "; Secure" in answer.headers["set-cookie"]
        assert answer.headers["strict-transport-security"].startswith("max-age=31536000")


# The log, the time, and how the shop is.


class Written:
    """A log, and its lines once it is closed."""

    def __init__(self, writer: LogWriter) -> None:
        self.writer = writer
        self.lines: list[dict[str, Any]] = []


@contextmanager
def written_log() -> Iterator[Written]:
    reading, writing = os.pipe()
    log = Written(LogWriter(writing))
    yield log
    log.writer.flush()
    os.close(writing)
    with os.fdopen(reading, "rb") as written:
        log.lines = [json.loads(line) for line in written]


async def test_a_request_is_one_line_of_json(tmp_path: Path) -> None:
    with written_log() as log:
        async with running_shop(tmp_path, seeded=False, log=log.writer) as shop:
            headers = {"X-Request-ID": "the-request"}
            await shop.client.get("/api/products/none?secret=1", headers=headers)
    (line,) = log.lines
    assert line.pop("at").endswith("Z")
    assert line.pop("milliseconds") > 0
    assert line.pop("bytes") > 100
    assert line == {
        "level": "info",
        "message": "request",
        "method": "GET",
        "path": "/api/products/none",
        "status": 404,
        "request_id": "the-request",
    }


async def test_the_shop_says_how_it_is(tmp_path: Path) -> None:
    chaos = Chaos(seed=1)

    def breakable(ports: Ports) -> Ports:
        return faulty(ports, chaos)

    async with running_shop(tmp_path, seeded=False, through=breakable) as shop:
        for path in ("/health/live", "/health/ready"):
            answer = await shop.client.get(path)
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        chaos.faults = Faults(read_fails=1)
        assert (await shop.client.get("/health/live")).status_code == 200
        document = _problem(await shop.client.get("/health/ready"), 503, "not_ready")
        assert document["detail"].startswith("records: ")
        # What is shown comes from memory, and what decides says that it can't.
        assert (await shop.client.get("/api/products")).status_code == 200
        answer = await shop.client.get("/api/orders/EK-1", headers=GUEST)
        _problem(answer, 503, "unavailable")
        chaos.faults = Faults()
        assert (await shop.client.get("/health/ready")).status_code == 200


async def test_what_the_shop_can_do_without_degrades_it(tmp_path: Path) -> None:
    chaos = Chaos(seed=1)

    def breakable(ports: Ports) -> Ports:
        return faulty(ports, chaos)

    async with running_shop(tmp_path, seeded=False, through=breakable) as shop:
        chaos.faults = Faults(cache_fails=1, mail_refused=1)
        answer = await shop.client.get("/health/ready")
        assert (answer.status_code, answer.json()) == (
            200,
            {
                "status": "degraded",
                "degraded": {
                    "cache": "The cache failed on purpose.",
                    "mail": "The mail failed on purpose.",
                },
            },
        )
        text = (await shop.client.get("/metrics")).text
        assert 'port_up{port="cache"} 0.0' in text
        assert 'port_up{port="live"} 1.0' in text
        chaos.faults = Faults(queue_fails=1)
        text = (await shop.client.get("/metrics")).text
        assert 'port_up{port="queue"} 0.0' in text
        assert 'jobs_waiting{lane="mail"} NaN' in text
        chaos.faults = Faults(delay=1, delay_seconds=1e6)  # nobody answers at all
        document = _problem(await shop.client.get("/health/ready"), 503, "not_ready")
        assert document["detail"] == "records: It doesn't answer within 2 s."


async def test_a_request_has_an_end(tmp_path: Path) -> None:
    chaos = Chaos(seed=1)

    def slow(ports: Ports) -> Ports:
        return faulty(ports, chaos)

    async with running_shop(
        tmp_path, seeded=False, through=slow, request_timeout_seconds=0.05
    ) as shop:
        chaos.faults = Faults(delay=1, delay_seconds=60)
        answer = await shop.client.get("/api/orders/EK-1", headers=GUEST)
        chaos.faults = Faults()
    _problem(answer, 503, "timed_out")


async def test_prometheus_reads_what_was_counted(shop: Shop) -> None:
    await shop.client.get("/api/products/prod-001")
    await shop.client.get("/api/products/none")
    await shop.client.get("/none/at/all")
    text = (await shop.client.get("/metrics")).text
    count = 'http_request_duration_seconds_count{method="GET",route="/api/products/{id}",status="%s"} 1.0'
    assert count % "200" in text
    assert count % "404" in text
    assert 'route="none",status="404"' in text
    assert "/none/at/all" not in text
    assert 'jobs_waiting{lane="mail"} 0.0' in text
