"""The pages over HTTP, without a browser: what they say, what they keep, where they lead."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest

from ecokart.core.log import stream
from ecokart.features.catalog.events import StockCorrected
from tests.clock import ManualClock
from tests.shop import Shop, running_shop

ADDRESS = {
    "name": "Dana Demo",
    "street": "Lange Straße 5",
    "postalCode": "34117",
    "city": "Kassel",
    "country": "DE",
}
DEMO = {"email": "demo@ecokart.com", "password": "demo1234"}
ADMIN = {"email": "admin@ecokart.com", "password": "admin1234"}


@pytest.fixture
async def shop(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Shop]:
    async with running_shop(tmp_path, clock) as shop:
        yield shop


async def buy(client: httpx.AsyncClient, sku: str = "EK-001", quantity: int = 1) -> None:
    answer = await client.post("/api/cart", json={"sku": sku, "quantity": quantity})
    assert answer.status_code == 200, answer.text


async def sign_in(client: httpx.AsyncClient, person: dict[str, str]) -> None:
    answer = await client.post("/sign-in", data=person)
    assert answer.status_code == 303, answer.text


async def checkout_form(client: httpx.AsyncClient) -> dict[str, str]:
    """The hidden fields of the checkout's form."""
    html = (await client.get("/checkout")).text
    return dict(re.findall(r'type="hidden" name="(form|seen)" value="(\w+)"', html))


class TestStorefront:
    async def test_pages_for_everybody_read_no_records(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def read(*_: object, **__: object) -> None:
            raise AssertionError("a record was read")

        monkeypatch.setattr(type(shop.ports.records), "get", read)
        monkeypatch.setattr(type(shop.ports.records), "query", read)
        for path in ("/", "/products", "/categories/pantry", "/products/prod-001", "/shipping"):
            page = await shop.client.get(path)
            assert page.status_code == 200
            assert '<a href="/api">' in page.text

    async def test_it_answers_in_the_language_asked_for_and_then_chosen(self, shop: Shop) -> None:
        english = {"accept-language": "en-GB"}
        page = await shop.client.get("/products/prod-001", headers=english)
        assert '<html lang="en">' in page.text
        assert "Into the basket" in page.text
        back = await shop.client.post(
            "/language", data={"language": "de", "next": "/products/prod-001"}, headers=english
        )
        assert (back.status_code, back.headers["location"]) == (303, "/products/prod-001")
        page = await shop.client.get("/products/prod-001", headers=english)
        assert '<html lang="de">' in page.text
        assert "In den Korb" in page.text

    @pytest.mark.parametrize(
        "elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "/a\r\nb"]
    )
    async def test_nobody_is_led_elsewhere(self, shop: Shop, elsewhere: str) -> None:
        chosen = await shop.client.post("/language", data={"language": "de", "next": elsewhere})
        assert chosen.headers["location"] == "/"
        signed_in = await shop.client.post("/sign-in", data=DEMO | {"next": elsewhere})
        assert signed_in.headers["location"] == "/"

    async def test_what_the_law_wants_stands_beside_the_price(self, shop: Shop) -> None:
        reduced = (await shop.client.get("/products/prod-009")).text
        assert "74,00\xa0€" in reduced
        assert "89,00\xa0€</s> (niedrigster Preis der letzten 30 Tage)" in reduced
        assert 'inkl. MwSt., zzgl. <a href="/shipping">Versand</a>' in reduced
        by_weight = (await shop.client.get("/categories/pantry")).text
        assert "35,60\xa0€ / kg" in by_weight

    async def test_stock_is_told(self, shop: Shop) -> None:
        assert "Nur noch 3 da" in (await shop.client.get("/products/prod-003")).text
        sold_out = (await shop.client.get("/products/prod-026")).text
        assert "Zurzeit ausverkauft" in sold_out
        assert "In den Korb" not in sold_out

    async def test_a_page_follows_the_stock(self, shop: Shop) -> None:
        assert "Nur noch 3 da" in (await shop.client.get("/products/prod-003")).text
        await buy(shop.client, "EK-003", 2)
        await shop.settle()
        assert "Nur noch 1 da" in (await shop.client.get("/products/prod-003")).text

    async def test_the_list_is_sorted_and_paged(self, shop: Shop) -> None:
        first = (await shop.client.get("/products?sort=price")).text
        assert '<option value="price" selected>' in first
        (following,) = re.findall(r'rel="next" href="([^"]+)"', first)
        second = (await shop.client.get("/products" + following.replace("&amp;", "&"))).text
        seen = [re.findall(r'class="card-link" href="([^"]+)"', page) for page in (first, second)]
        assert [len(page) for page in seen] == [24, 7]
        assert len({*seen[0], *seen[1]}) == 31

    async def test_what_cannot_be_had_is_said_on_the_products_page(self, shop: Shop) -> None:
        path = "/products/prod-004"
        nothing_chosen = await shop.client.post(path, data={"quantity": "1"})
        assert nothing_chosen.status_code == 422
        assert "Bitte wählen Sie erst eine Variante." in nothing_chosen.text
        too_many = await shop.client.post(path, data={"sku": "EK-004-L-CLAY", "quantity": "7"})
        assert too_many.status_code == 409
        assert "So viel ist davon nicht mehr da." in too_many.text
        assert re.search(r'value="EK-004-L-CLAY" required\s+checked', too_many.text)
        assert 'value="7"' in too_many.text
        assert (await shop.client.get("/api/cart")).json()["items"] == []

    async def test_errors_are_pages_in_both_languages(self, shop: Shop) -> None:
        html = {"accept": "text/html"}
        for path in ("/nowhere", "/products/prod-999", "/categories/nothing"):
            german = await shop.client.get(path, headers=html)
            assert german.status_code == 404
            assert german.headers["x-request-id"] in german.text
        english = await shop.client.get("/nowhere", headers=html | {"accept-language": "en"})
        assert "There is nothing here." in english.text
        assert "Hier ist nichts." in (await shop.client.get("/nowhere", headers=html)).text


class TestBasket:
    async def test_it_can_be_changed_and_emptied_and_refilled(self, shop: Shop) -> None:
        client = shop.client
        assert "Noch liegt nichts darin." in (await client.get("/cart")).text
        added = await client.post("/products/prod-001", data={"sku": "EK-001", "quantity": "2"})
        assert (added.status_code, added.headers["location"]) == (303, "/cart")
        page = (await client.get("/cart")).text
        assert "79,80\xa0€" in page
        assert "Für Sie zurückgelegt bis 12:00 Uhr." in page
        await client.post("/cart/change", data={"sku": "EK-001", "quantity": "3"})
        assert "119,70\xa0€" in (await client.get("/cart")).text
        removed = await client.post("/cart/remove", data={"sku": "EK-001"})
        assert (
            "„Brett aus Eiche“ ist nicht mehr im Korb."
            in (await client.get(removed.headers["location"])).text
        )
        await client.post("/cart/add", data={"sku": "EK-001", "quantity": "3"})
        assert "119,70\xa0€" in (await client.get("/cart")).text

    async def test_what_hinders_stands_beside_the_line(self, shop: Shop) -> None:
        await buy(shop.client, "EK-007", 2)
        await shop.settle()
        refused = await shop.client.post("/cart/change", data={"sku": "EK-007", "quantity": "9"})
        assert refused.status_code == 409
        assert "So viele sind nicht da: 4 sind zu haben." in refused.text
        assert re.search(r'value="9" aria-invalid="true"', refused.text)
        nonsense = await shop.client.post("/cart/change", data={"sku": "EK-007", "quantity": "x"})
        assert nonsense.status_code == 422
        (line,) = (await shop.client.get("/api/cart")).json()["items"]
        assert line["quantity"] == 2

    async def test_a_reservation_that_ran_out_is_told_and_renewed(
        self, shop: Shop, clock: ManualClock
    ) -> None:
        await buy(shop.client)
        clock.advance(hours=3)
        await shop.app.worker.run_due_timers()
        assert "Nicht mehr für Sie zurückgelegt." in (await shop.client.get("/cart")).text
        await shop.client.post("/cart/change", data={"sku": "EK-001", "quantity": "1"})
        assert "Nicht mehr für Sie zurückgelegt." not in (await shop.client.get("/cart")).text


class TestCheckout:
    async def test_a_guest_orders(self, shop: Shop) -> None:
        await buy(shop.client, quantity=2)
        page = (await shop.client.get("/checkout")).text
        assert re.search(r"<button[^>]*>Zahlungspflichtig bestellen</button>", page)
        assert "84,70\xa0€" in page
        form = await checkout_form(shop.client)
        placed = await shop.client.post(
            "/checkout", data=form | ADDRESS | {"email": "guest@example.com"}
        )
        assert placed.status_code == 303
        thanks = (await shop.client.get(placed.headers["location"])).text
        assert "Danke für Ihre Bestellung." in thanks
        assert "guest@example.com" in thanks
        await shop.settle()
        (order,) = (await shop.client.get("/api/orders")).json()["orders"]
        assert order["status"] == "COMPLETED"
        assert f"/account/orders/{order['id']}" in (await shop.client.get("/account/orders")).text

    async def test_sent_twice_it_is_one_order(self, shop: Shop) -> None:
        await buy(shop.client)
        form = await checkout_form(shop.client) | ADDRESS | {"email": "guest@example.com"}
        first = await shop.client.post("/checkout", data=form)
        second = await shop.client.post("/checkout", data=form)
        assert first.headers["location"] == second.headers["location"]
        assert len((await shop.client.get("/api/orders")).json()["orders"]) == 1

    async def test_an_old_page_orders_nothing_that_it_did_not_show(self, shop: Shop) -> None:
        await buy(shop.client)
        form = await checkout_form(shop.client) | ADDRESS | {"email": "guest@example.com"}
        await buy(shop.client, "EK-003")
        refused = await shop.client.post("/checkout", data=form)
        assert refused.status_code == 409
        assert "Noch ist nichts bestellt" in refused.text
        assert "Wolldecke mit Fransen" in refused.text
        assert (await shop.client.get("/api/orders")).json()["orders"] == []

    async def test_every_wrong_field_says_so_and_all_is_kept(self, shop: Shop) -> None:
        await buy(shop.client)
        form = await checkout_form(shop.client)
        wrong = ADDRESS | {"email": "nobody", "postalCode": "x", "city": ""}
        refused = await shop.client.post("/checkout", data=form | wrong)
        assert refused.status_code == 422
        for message in (
            "E-Mail-Adresse an, etwa",
            "in Deutschland 5 Ziffern",
            "Bitte geben Sie den Ort an",
        ):
            assert message in refused.text
        assert refused.text.count('aria-invalid="true"') == 3
        assert 'value="Lange Straße 5"' in refused.text

    async def test_a_postcode_of_another_country_is_wrong(self, shop: Shop) -> None:
        await buy(shop.client)
        form = await checkout_form(shop.client) | ADDRESS | {"email": "guest@example.com"}
        refused = await shop.client.post("/checkout", data=form | {"country": "AT"})
        assert refused.status_code == 422
        assert "in Österreich und der Schweiz 4" in refused.text
        assert refused.text.count('aria-invalid="true"') == 1

    async def test_sold_in_the_meantime(self, shop: Shop, clock: ManualClock) -> None:
        await buy(shop.client, "EK-003", 2)
        form = await checkout_form(shop.client) | ADDRESS | {"email": "guest@example.com"}
        clock.advance(hours=3)
        await shop.app.worker.run_due_timers()
        async with shop.browser() as other:
            await buy(other, "EK-003", 3)
        await shop.settle()
        refused = await shop.client.post("/checkout", data=form)
        assert refused.status_code == 409
        assert "Etwas davon wurde inzwischen verkauft." in refused.text
        assert "ausverkauft" in refused.text
        assert 'value="Lange Straße 5"' in refused.text
        (line,) = (await shop.client.get("/api/cart")).json()["items"]
        assert line["quantity"] == 2

    async def test_an_empty_basket_has_no_checkout(self, shop: Shop) -> None:
        assert (await shop.client.get("/checkout")).headers["location"] == "/cart"

    async def test_a_customer_orders_to_the_address_book(self, shop: Shop) -> None:
        await sign_in(shop.client, DEMO)
        await buy(shop.client)
        form = await checkout_form(shop.client)
        await shop.client.post("/checkout", data=form | ADDRESS | {"address": "", "keep": "on"})
        await buy(shop.client, "EK-002-500")
        page = (await shop.client.get("/checkout")).text
        (address_id,) = re.findall(r'name="address" value="(\w+)"', page)
        form = await checkout_form(shop.client)
        placed = await shop.client.post("/checkout", data=form | {"address": address_id})
        assert placed.status_code == 303
        newest, _ = (await shop.client.get("/api/orders")).json()["orders"]
        assert newest["address"]["street"] == "Lange Straße 5"
        assert newest["email"] == DEMO["email"]


class TestAccounts:
    async def test_the_basket_comes_along_at_sign_in(self, shop: Shop) -> None:
        await buy(shop.client, quantity=2)
        await sign_in(shop.client, DEMO)
        (line,) = (await shop.client.get("/api/cart")).json()["items"]
        assert line["quantity"] == 2

    async def test_so_it_does_over_the_api(self, shop: Shop) -> None:
        await buy(shop.client, quantity=2)
        token = (await shop.client.post("/auth/login", json=DEMO)).json()["token"]
        async with shop.browser(headers={"authorization": f"Bearer {token}"}) as other:
            (line,) = (await other.get("/api/cart")).json()["items"]
        assert line["quantity"] == 2

    async def test_registering_and_signing_out(self, shop: Shop) -> None:
        new = {"name": "Nora Neu", "email": "nora@example.com", "password": "geheim-genug"}
        opened = await shop.client.post("/register", data=new | {"next": "/account"})
        assert (opened.status_code, opened.headers["location"]) == (303, "/account")
        assert "Nora Neu" in (await shop.client.get("/account")).text
        await shop.client.post("/sign-out")
        led = await shop.client.get("/account")
        assert led.headers["location"] == "/sign-in?next=/account"
        taken = await shop.client.post("/register", data=new)
        assert taken.status_code == 409
        assert "gibt es schon ein Konto" in taken.text

    async def test_a_wrong_password_is_told_without_telling_more(self, shop: Shop) -> None:
        for person in (DEMO | {"password": "wrong"}, {"email": "x@example.com", "password": "y"}):
            refused = await shop.client.post("/sign-in", data=person)
            assert refused.status_code == 422
            assert "passen nicht zusammen" in refused.text
        assert 'value="x@example.com"' in refused.text

    async def test_the_pages_share_the_limit_of_the_api(self, tmp_path: Path) -> None:
        async with running_shop(tmp_path, rate_limit=2) as shop:
            await shop.client.post("/auth/login", json=DEMO)
            await shop.client.post("/sign-in", data=DEMO)
            refused = await shop.client.post("/sign-in", data=DEMO)
        assert refused.status_code == 429
        assert "Zu viele Anfragen." in refused.text

    async def test_somebody_elses_order_is_not_there(self, shop: Shop) -> None:
        await buy(shop.client)
        form = await checkout_form(shop.client)
        placed = await shop.client.post(
            "/checkout", data=form | ADDRESS | {"email": "guest@example.com"}
        )
        order = placed.headers["location"].removesuffix("/thanks")
        async with shop.browser() as other:
            assert (await other.get(order)).status_code == 404
            assert (await other.post(f"{order}/cancel")).status_code == 404
        cancelled = await shop.client.post(f"{order}/cancel")
        assert "Storniert" in (await shop.client.get(cancelled.headers["location"])).text


class TestOffice:
    async def test_it_is_for_admins(self, shop: Shop) -> None:
        led = await shop.client.get("/admin?stage=PLACED")
        assert led.headers["location"] == "/sign-in?next=/admin%3Fstage%3DPLACED"
        await sign_in(shop.client, DEMO)
        for path in ("/admin", "/admin/stock"):
            refused = await shop.client.get(path)
            assert refused.status_code == 403
            assert "Dieser Teil des Ladens ist für andere." in refused.text
        refused = await shop.client.post("/admin/stock", data={"sku": "EK-001", "by": "+1"})
        assert refused.status_code == 403

    async def test_orders_by_status_and_all_together(self, shop: Shop, clock: ManualClock) -> None:
        numbers = []
        for _ in range(3):
            clock.advance(minutes=1)
            await buy(shop.client)
            form = await checkout_form(shop.client) | ADDRESS | {"email": "guest@example.com"}
            placed = await shop.client.post("/checkout", data=form)
            numbers.append(placed.headers["location"].split("/")[3])
        await shop.client.post(f"/account/orders/{numbers[1]}/cancel")
        async with shop.browser() as office:
            await sign_in(office, ADMIN)
            everything = (await office.get("/admin")).text
            assert re.findall(r"/admin/orders/(EK[\w-]+)", everything) == numbers[::-1]
            cancelled = (await office.get("/admin?stage=CANCELLED")).text
            assert re.findall(r"/admin/orders/(EK[\w-]+)", cancelled) == [numbers[1]]
            assert "Lange Straße 5" in (await office.get(f"/admin/orders/{numbers[0]}")).text

    async def test_stock_is_changed_and_the_change_undone(self, shop: Shop) -> None:
        await sign_in(shop.client, ADMIN)
        booked = await shop.client.post(
            "/admin/stock", data={"sku": "EK-026", "by": "+10", "q": "yoga"}
        )
        page = (await shop.client.get(booked.headers["location"])).text
        assert "EK-026: +10 ist gebucht." in page
        assert re.findall(r'<td class="money">(\d+)</td>', page)[0] == "10"
        assert 'name="by" value="-10"' in page
        await shop.client.post("/admin/stock", data={"sku": "EK-026", "by": "-10"})
        await shop.settle()
        assert (await shop.client.get("/api/products/prod-026")).json()["stock"] == 0
        facts = [
            msgspec.json.decode(entry.event, type=StockCorrected)
            for entry in await stream(shop.ports.records, "stock/EK-026")
        ]
        assert [fact.by for fact in facts] == [10, -10]
        assert all(re.fullmatch("staff:[^:]+", fact.actor) and fact.cause for fact in facts)

    @pytest.mark.parametrize("by", ["", "0", "ten", "+1.5", "99999999"])
    async def test_a_change_that_is_none(self, shop: Shop, by: str) -> None:
        await sign_in(shop.client, ADMIN)
        refused = await shop.client.post("/admin/stock", data={"sku": "EK-001", "by": by})
        assert refused.status_code == 422
        assert "Bitte eine Stückzahl angeben" in refused.text

    async def test_stock_never_falls_below_nothing(self, shop: Shop) -> None:
        await sign_in(shop.client, ADMIN)
        refused = await shop.client.post("/admin/stock", data={"sku": "EK-003", "by": "−4"})
        assert refused.status_code == 409
        assert "Frei sind nur 3." in refused.text


SCRIPTS_OF_THE_CHAT = ("chat-open.js", "chat-line.js", "chat.js", "chat-posts.js")
LIGHT = 12 * 1024


async def test_the_scripts_of_the_chat_are_light(demo: Shop) -> None:
    taken = 0
    for name in SCRIPTS_OF_THE_CHAT:
        async with demo.client.stream("GET", f"/static/{name}") as answer:
            taken += sum([len(part) async for part in answer.aiter_raw()])
            assert answer.headers["content-encoding"] == "gzip"
    assert 1024 < taken <= LIGHT


@pytest.mark.parametrize("takes", ["identity", "br", "gzip;q=0", "gzip; q=0.0, br"])
async def test_who_takes_no_gzip_gets_the_same_as_it_is(demo: Shop, takes: str) -> None:
    packed = await demo.client.get("/static/shop.css")
    plain = await demo.client.get("/static/shop.css", headers={"accept-encoding": takes})
    assert packed.text == plain.text
    assert "content-encoding" not in plain.headers
    assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    assert packed.headers["etag"] != plain.headers["etag"]
