"""`Targets`: what is taken, what fails and how, and that nobody makes us call our own network."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from ipaddress import IPv4Address

import pytest

from ecokart.core.targets import Failure, TargetBusy, TargetRefused, Targets
from ecokart.engines.targets_addresses import callable_address
from ecokart.engines.targets_http import AT_ONCE, WAITING, HttpTargets
from tests import webhook_target
from tests.clock import ManualClock
from tests.mail_servers import trusting
from tests.webhook_target import WebhookTarget, answer

HEADERS = {"content-type": "application/json", "webhook-id": "msg_1"}
BODY = '{"type": "order.placed", "über": "€"}'.encode()


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookTarget]:
    async with WebhookTarget() as server:
        yield server


@pytest.fixture
async def targets(clock: ManualClock) -> AsyncIterator[HttpTargets]:
    """Targets that may call this machine, and lose their patience soon."""
    targets = HttpTargets(clock, private=True, answer_seconds=0.3)
    yield targets
    await targets.close()


class Names:
    """A name server that a test writes: the answers of a name in turn, the last one for ever."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        answers = self._answers[host.replace(".", "_")]
        return answers.pop(0) if len(answers) > 1 else answers[0]


async def test_a_post_arrives_as_it_was_given(targets: Targets, receiver: WebhookTarget) -> None:
    got = await targets.post(f"{receiver.url}?a=b%20c", HEADERS, BODY, party="p")
    assert (got.failure, got.status, got.excerpt) == (None, 200, "ok")
    assert 0 < got.seconds < 5
    (received,) = receiver.received
    assert received.line == "POST /hooks?a=b%20c HTTP/1.1"
    assert received.body == BODY
    assert received.headers["webhook-id"] == "msg_1"
    assert received.headers["host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        (answer(204), (None, 204, "")),
        (answer(500, "a traceback"), (Failure.ANSWER, 500, "a traceback")),
        (answer(410), (Failure.ANSWER, 410, "")),
        (answer(302, location="http://10.0.0.1/"), (Failure.REDIRECT, 302, "http://10.0.0.1/")),
        (answer(200, "€" * 9000), (None, 200, "€" * 500)),
        (webhook_target.hang, (Failure.TIMEOUT, 0, "")),
        (webhook_target.hang_in_the_body, (None, 200, "begun")),
        (webhook_target.never_end, (None, 200, "x" * 500)),
        (webhook_target.hang_up, (Failure.BROKEN, 0, "Server disconnected")),
        (webhook_target.speak_no_http, (Failure.BROKEN, 0, "")),
    ],
)
async def test_what_becomes_of_it(
    targets: Targets,
    receiver: WebhookTarget,
    behaviour: webhook_target.Behaviour,
    told: tuple[Failure | None, int, str],
) -> None:
    failure, status, excerpt = told
    receiver.behaviours.append(behaviour)
    got = await targets.post(receiver.url, HEADERS, BODY, party="p")
    assert (got.failure, got.status) == (failure, status)
    assert got.excerpt.startswith(excerpt)
    assert len(got.excerpt) <= 500
    assert len(receiver.received) == 1
    again = await targets.post(receiver.url, HEADERS, BODY, party="p")
    assert again.failure is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *[("120", 120), ("Mon, 02 Mar 2026 09:01:00 GMT", 60)],
        *[("Mon, 02 Mar 2026 08:00:00 GMT", None), ("soon", None), ("-3", None), ("0", None)],
        *[("9" * 400, None), ("²", None), ("", None)],
    ],
)
async def test_a_target_may_ask_for_patience(
    targets: Targets, receiver: WebhookTarget, text: str, seconds: float | None
) -> None:
    receiver.behaviours.append(answer(503, retry_after=text))
    got = await targets.post(receiver.url, HEADERS, BODY, party="p")
    assert got.retry_after_seconds == seconds


async def test_nobody_there(targets: Targets, receiver: WebhookTarget) -> None:
    await receiver.__aexit__()
    got = await targets.post(receiver.url, HEADERS, BODY, party="p")
    assert got.failure is Failure.NO_CONNECTION


async def test_a_name_without_addresses(clock: ManualClock) -> None:
    targets = HttpTargets(clock)
    got = await targets.post("https://nobody.invalid/", HEADERS, BODY, party="p")
    assert got.failure is Failure.NO_ADDRESS


async def test_a_certificate_must_hold_for_the_name_that_was_called(clock: ManualClock) -> None:
    names = Names(localhost=[["127.0.0.1"]], else_example=[["127.0.0.1"]])
    async with WebhookTarget(tls=True) as receiver:
        trusted = HttpTargets(clock, private=True, resolve=names, trust=trusting())
        place = f"localhost:{receiver.port}/hooks"
        assert (await trusted.post(f"https://{place}", HEADERS, BODY, party="p")).failure is None
        assert receiver.received[0].headers["host"] == f"localhost:{receiver.port}"
        wrong = f"https://else.example:{receiver.port}/hooks"
        assert (await trusted.post(wrong, HEADERS, BODY, party="p")).failure is Failure.TLS
        strict = HttpTargets(clock, private=True, resolve=names)
        got = await strict.post(f"https://{place}", HEADERS, BODY, party="p")
        assert got.failure is Failure.TLS
        assert "self-signed" in got.excerpt
        assert len(receiver.received) == 1


INSIDE = [
    *["127.0.0.1", "127.9.9.9", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"],
    *["0.0.0.1", "100.64.0.1", "192.0.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1"],
    *[
        str(IPv4Address(0)),
        "255.255.255.255",
        "192.88.99.1",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%1",
        "fc00::1",
        "ff02::1",
    ],
    *["fd00:ec2::254", "fec0::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1"],
    *["64:ff9b::7f00:1", "64:ff9b:1::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "4000::1"],
]


@pytest.mark.parametrize("address", INSIDE)
async def test_an_address_that_is_not_on_the_internet_is_never_called(
    clock: ManualClock, address: str
) -> None:
    assert not callable_address(address)
    targets = HttpTargets(clock, resolve=Names(shop_example=[[address]]))
    got = await targets.post("https://shop.example/", HEADERS, BODY, party="p")
    assert (got.failure, got.status) == (Failure.FORBIDDEN, 0)


@pytest.mark.parametrize("address", ["8.8.8.8", "185.199.108.153", "2606:4700::1111"])
def test_an_address_on_the_internet_may_be_called(address: str) -> None:
    assert callable_address(address)


async def test_one_address_inside_forbids_the_others(clock: ManualClock) -> None:
    targets = HttpTargets(clock, resolve=Names(shop_example=[["8.8.8.8", "10.0.0.1"]]))
    got = await targets.post("https://shop.example/", HEADERS, BODY, party="p")
    assert got.failure is Failure.FORBIDDEN
    assert "10.0.0.1" in got.excerpt


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f000001", "127.1"])
async def test_this_machine_by_any_name(clock: ManualClock, host: str) -> None:
    """By the system's own name server, and in the spellings that it takes for an address."""
    got = await HttpTargets(clock).post(f"https://{host}/", HEADERS, BODY, party="p")
    assert got.failure is Failure.FORBIDDEN


async def test_what_is_called_is_what_was_checked(
    clock: ManualClock, receiver: WebhookTarget
) -> None:
    """A name that leads elsewhere when it is asked again isn't asked again."""
    names = Names(rebinding_example=[["127.0.0.1"], ["203.0.113.1"]])
    targets = HttpTargets(clock, private=True, resolve=names)
    url = f"http://rebinding.example:{receiver.port}/hooks"
    got = await targets.post(url, HEADERS, BODY, party="p")
    assert got.failure is None
    assert receiver.received[0].headers["host"] == f"rebinding.example:{receiver.port}"
    assert names.asked == ["rebinding.example"]


async def test_a_second_address_is_tried_where_the_first_is_silent(
    clock: ManualClock, receiver: WebhookTarget
) -> None:
    targets = HttpTargets(clock, private=True, resolve=Names(two_example=[["::1", "127.0.0.1"]]))
    url = f"http://two.example:{receiver.port}/hooks"
    assert (await targets.post(url, HEADERS, BODY, party="p")).failure is None


@pytest.mark.parametrize(
    "url",
    [
        *["http://shop.example/", "ftp://shop.example/", "shop.example", "https://", "https:///x"],
        *["https://user@shop.example/", "https://u:p@shop.example/", "https://shop.example:8443/"],
        *["https://shop.example:99999/", "https://shop.example/#a", "https://shop.example\\@x.com"],
        *["https://10.0.0.1/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://0x7f.1/"],
        *["https://0177.0.0.1/", "https://127.1/", "https://2130706433/", "https://1.2.3.4.5/"],
        *[
            "https://shop.example/ü",
            "https://shöp.example/",
            "https://shop.example/a b",
            "https://[",
        ],
        *["https://shop.example/\n", "https://-.example/", "https://shop.example/" + "x" * 500],
        *["https://[fe80::1%25eth0]/", "https://127.0.0.1./", "https://a..example/"],
    ],
)
async def test_a_url_that_is_none_for_us(clock: ManualClock, url: str) -> None:
    names = Names()
    targets = HttpTargets(clock, resolve=names)
    with pytest.raises(TargetRefused) as refused:
        targets.check(url)
    assert refused.value.detail.endswith(".")
    assert (await targets.post(url, HEADERS, BODY, party="p")).failure is Failure.FORBIDDEN
    assert not names.asked


@pytest.mark.parametrize(
    "url", ["https://shop.example", "https://a-b.shop.example./x?y=z", "https://8.8.8.8:443/"]
)
def test_a_url_that_may_be_called(clock: ManualClock, url: str) -> None:
    HttpTargets(clock).check(url)


def test_other_ports_may_be_let_through(clock: ManualClock) -> None:
    HttpTargets(clock, ports=(443, 8443)).check("https://shop.example:8443/")


async def test_a_slow_party_holds_up_only_itself(clock: ManualClock) -> None:
    async with WebhookTarget() as slow, WebhookTarget() as quick:
        targets = HttpTargets(clock, private=True, answer_seconds=2.5)
        slow.always = webhook_target.hang
        posts = [
            asyncio.create_task(targets.post(slow.url, HEADERS, BODY, party="slow"))
            for _ in range(AT_ONCE + WAITING)
        ]
        while len(slow.received) < AT_ONCE:
            await asyncio.sleep(0.005)
        with pytest.raises(TargetBusy):
            await targets.post(slow.url, HEADERS, BODY, party="slow")
        began = time.perf_counter()
        assert (await targets.post(quick.url, HEADERS, BODY, party="quick")).failure is None
        assert time.perf_counter() - began < 1
        ends = await asyncio.gather(*posts, return_exceptions=True)
    assert [getattr(end, "failure", "busy") for end in ends[:AT_ONCE]] == [
        Failure.TIMEOUT
    ] * AT_ONCE
    assert all(isinstance(end, TargetBusy) for end in ends[AT_ONCE:])
    assert slow.most_under_way == AT_ONCE
