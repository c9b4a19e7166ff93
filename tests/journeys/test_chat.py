"""Live chat in real browsers: two people talk, one loses the line and returns, and nothing is lost or doubled."""

from __future__ import annotations

from playwright.async_api import Locator, Page, expect

from tests.chat import Chatter, chatting
from tests.features.conftest import ADA
from tests.journeys.conftest import Visit
from tests.journeys.steps import ADMIN, sign_in
from tests.shop import Shop


async def open_chat(page: Page, path: str = "/") -> Locator:
    await page.goto(path)
    await page.get_by_role("button", name="Fragen?").click()
    dialog = page.get_by_role("dialog", name="Fragen?")
    await expect(dialog.get_by_label("Ihre Nachricht")).to_be_focused()
    return dialog


async def write(dialog: Locator, text: str) -> None:
    await dialog.get_by_label("Ihre Nachricht").press_sequentially(text)  # each key, as people do
    await dialog.get_by_label("Ihre Nachricht").press("Enter")


def said(part: Locator) -> Locator:
    return part.locator(".chat-entry .chat-text")


async def token(shop: Shop) -> str:
    return str((await shop.client.post("/auth/login", json=ADA)).json()["token"])


async def room_of(shop: Shop, page: Page) -> str:
    """The room of who sits at that page."""
    answer = await page.request.post(f"{shop.url}/chat/rooms", data={})
    return str((await answer.json())["id"])


async def answer(agent: Chatter, room: str, text: str) -> None:
    assert (await agent.ask("sendMessage", roomId=room, content=text))["type"] == "ack"


async def test_the_line_breaks_and_nothing_is_lost(shop: Shop, visit: Visit) -> None:
    async with visit() as page, chatting(shop.url, token=await token(shop)) as agent:
        dialog = await open_chat(page, "/products/prod-001")
        await write(dialog, "Ist das Brett aus Eiche?")
        await expect(dialog.locator(".is-waiting")).to_have_count(0)
        room = await room_of(shop, page)
        joined = await agent.ask("join", roomId=room)
        assert [m["content"] for m in joined["entries"]] == ["Ist das Brett aus Eiche?"]
        await answer(agent, room, "Ja, aus Eiche.")
        await expect(said(dialog).last).to_have_text("Ja, aus Eiche.")

        await page.context.set_offline(True)
        await write(dialog, "Und wie groß?")
        await write(dialog, "Ich bin im Tunnel.")
        await expect(dialog.locator(".is-waiting")).to_have_count(2)
        await answer(agent, room, "40 × 25 cm.")
        await expect(dialog.get_by_role("status")).to_contain_text("keine Verbindung")
        await page.context.set_offline(False)

        await expect(dialog.locator(".is-waiting")).to_have_count(0)
        await expect(dialog.get_by_role("status")).to_be_empty()
        texts = [
            "Ist das Brett aus Eiche?", "Ja, aus Eiche.", "40 × 25 cm.", "Und wie groß?", "Ich bin im Tunnel.",
        ]  # fmt: skip
        await expect(said(dialog)).to_have_text(texts)
        stored = (await agent.ask("getMessages", roomId=room))["messages"]
        assert [m["content"] for m in stored] == texts


async def test_it_is_the_same_on_the_next_page_and_counts_while_it_is_closed(
    shop: Shop, visit: Visit
) -> None:
    async with visit() as page, chatting(shop.url, token=await token(shop)) as agent:
        dialog = await open_chat(page)
        await write(dialog, "Hallo?")
        await expect(dialog.locator("[data-sequence]")).to_have_count(1)
        room = await room_of(shop, page)
        await agent.ask("join", roomId=room)
        await page.goto("/products")
        await expect(said(dialog)).to_have_text(["Hallo?"])
        await page.keyboard.press("Tab")  # into the page: the dialog doesn't hold whoever reads on
        await dialog.get_by_label("Ihre Nachricht").press_sequentially("Ein Entw")
        await page.keyboard.press("Escape")
        await expect(dialog).to_be_hidden()
        opener = page.get_by_role("button", name="Fragen?")
        await expect(opener).to_be_focused()
        await answer(agent, room, "Guten Tag!")
        await expect(opener).to_contain_text("1")
        await page.goto("/shipping")
        await expect(opener).to_contain_text("1")
        await opener.click()
        await expect(said(dialog)).to_have_text(["Hallo?", "Guten Tag!"])
        await expect(dialog.get_by_label("Ihre Nachricht")).to_have_value("Ein Entw")
        await expect(opener).not_to_contain_text("1")
        await agent.hear("read", roomId=room, sequence=2)


async def test_a_refused_message_comes_back_into_the_field(shop: Shop, visit: Visit) -> None:
    async with visit() as page, chatting(shop.url, token=await token(shop)) as agent:
        dialog = await open_chat(page)
        await write(dialog, "Hallo?")
        await expect(dialog.locator("[data-sequence]")).to_have_count(1)
        joined = await agent.ask("getMessages", roomId=await room_of(shop, page))
        await agent.ask("block", userId=joined["messages"][0]["userId"])
        await write(dialog, "<b>Kauft!</b>")
        await expect(dialog.get_by_role("status")).to_contain_text("zurzeit nicht schreiben")
        await expect(dialog.get_by_label("Ihre Nachricht")).to_have_value("<b>Kauft!</b>")
        await expect(said(dialog)).to_have_text(["Hallo?"])


async def test_where_no_web_socket_gets_through_it_asks_and_posts(shop: Shop, visit: Visit) -> None:
    async with visit() as page, chatting(shop.url, token=await token(shop)) as agent:
        await page.route_web_socket("**/chat", lambda socket: socket.close())
        dialog = await open_chat(page)
        await write(dialog, "Hallo?")
        await expect(dialog.locator("[data-sequence]")).to_have_count(1)
        room = await room_of(shop, page)
        await answer(agent, room, "Guten Tag!")
        await expect(said(dialog)).to_have_text(["Hallo?", "Guten Tag!"])
        await write(dialog, "Geht doch.")
        await expect(said(dialog)).to_have_text(["Hallo?", "Guten Tag!", "Geht doch."])
        await expect(dialog.locator(".is-waiting")).to_have_count(0)
        stored = (await agent.ask("getMessages", roomId=room))["messages"]
        assert [m["content"] for m in stored] == ["Hallo?", "Guten Tag!", "Geht doch."]


async def test_without_scripts_it_is_a_page(shop: Shop, visit: Visit) -> None:
    async with (
        visit(java_script_enabled=False) as page,
        chatting(shop.url, token=await token(shop)) as agent,
    ):
        await page.goto("/products/prod-001")
        await page.get_by_role("button", name="Fragen?").click()
        await page.get_by_label("Ihre Nachricht").fill("Ist das\nBrett aus Eiche? <script>")
        await page.get_by_role("button", name="Senden").click()
        room = await room_of(shop, page)
        opened = await agent.ask("join", roomId=room)
        assert [m["content"] for m in opened["entries"]] == ["Ist das\nBrett aus Eiche? <script>"]
        await answer(agent, room, "Ja.")
        await page.get_by_role("link", name="Nach Antworten sehen").click()
        await expect(said(page.get_by_role("main"))).to_have_text(
            ["Ist das Brett aus Eiche? <script>", "Ja."]
        )


async def test_shopper_and_staff_talk_in_two_browsers(shop: Shop, visit: Visit) -> None:
    async with visit() as shopper, visit() as staff:
        await sign_in(staff, ADMIN, then="/admin/chat")
        await expect(staff.get_by_text("Niemand wartet.")).to_be_visible()
        dialog = await open_chat(shopper, "/products/prod-001")
        await write(dialog, "Ist das Brett aus Eiche?")
        tab = staff.get_by_role("navigation", name="Büro").get_by_role("link", name="Chat")
        await expect(tab).to_contain_text("1")  # without a look at the page again
        await staff.get_by_role("row", name="Ist das Brett aus Eiche?").get_by_role("link").click()
        talk = staff.get_by_role("region", name="Gespräch")
        await expect(said(talk)).to_have_text(["Ist das Brett aus Eiche?"])

        await staff.context.set_offline(True)
        await staff.get_by_label("Ihre Antwort").fill("Ja, ganz.")
        await staff.get_by_label("Ihre Antwort").press("Enter")
        await write(dialog, "Hallo?")
        await expect(dialog.locator(".is-waiting")).to_have_count(0)
        await expect(talk.locator(".is-waiting")).to_have_count(1)
        await staff.context.set_offline(False)

        texts = ["Ist das Brett aus Eiche?", "Hallo?", "Ja, ganz."]
        await expect(said(talk)).to_have_text(texts)
        await expect(said(dialog)).to_have_text(texts)
        await expect(tab.locator(".count")).to_be_hidden()
        await dialog.get_by_label("Ihre Nachricht").press_sequentially("Da")
        await expect(talk.get_by_text("schreibt …")).to_be_visible()
        await staff.get_by_label("Ihre Antwort").fill("Fragt freundlich.")
        await staff.get_by_role("button", name="Als Notiz für uns behalten").click()
        await expect(said(talk)).to_have_text([*texts, "Fragt freundlich."])
        await expect(said(dialog)).to_have_text(texts)
