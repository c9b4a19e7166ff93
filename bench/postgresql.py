"""PostgreSQL: orders at the records' port, beside `pgbench` with the same statements in one function.

What is committed are the very writes of an order (the stock of each line, the cart, the order, its facts in the
log, the idempotency mark, the event), made by the shop's own services. The floor writes the same to the same
tables: from as many clients one call of a function each, by PostgreSQL's own load program. Both share all cores
with the server, and take turns.
"""

from __future__ import annotations

import asyncio
import math
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from urllib.parse import urlsplit

import asyncpg

from bench.load import percentile
from bench.processes import all_cores, on_cores
from bench.stand import Bench
from ecokart.core.clock import SystemClock, new_id
from ecokart.core.events import OUTBOX
from ecokart.core.i18n import Text
from ecokart.core.idempotency import MARKS, remember, replay
from ecokart.core.log import LOG
from ecokart.core.money import Money
from ecokart.core.ports import Records
from ecokart.core.records import ABSENT, Put, T, Table, Write
from ecokart.core.terms import Terms
from ecokart.core.transaction import Transaction
from ecokart.engines.records_postgres import PostgresRecords
from ecokart.features.accounts.model import Address
from ecokart.features.cart.model import CARTS, Cart, Line, empty
from ecokart.features.catalog.model import STOCK, Stock, TaxClass
from ecokart.features.orders import service
from ecokart.features.orders.api import view
from ecokart.features.orders.model import ORDERS
from ecokart.rooms import TABLES
from ecokart.web.responses import encode_json
from tests.proxy import Proxy, through, upstream
from tests.servers import own_postgresql
from tests.setup_engines import POSTGRESQL

PRODUCTS = 1000
PLENTY = 1_000_000_000
AT_ONCE = 100
ADDRESS = Address(name="Bea Bench", street="Messweg 1", postal_code="10115", city="Berlin")
# What pgbench runs: two lines of different products in the order of their keys, or one of the hot one.
SCRIPTS = {
    "many products": f"\\set one random(1, {PRODUCTS - 1})\n\\set two random(:one + 1, {PRODUCTS})\n"
    "SELECT bench_order(ARRAY[:one, :two]::text[]);\n",
    "one hot product": "SELECT bench_order(ARRAY['0']);\n",
}
# Keys of the floor, as random or sorted as the shop's own.
ORDER = "'EK-261121-' || left(md5(n::text), 12)"
PART = "left(md5(n::text), 1)"
EVENT = "lpad(to_hex(moment), 16, '0') || left(md5(n::text), 16)"
DEMANDED = {"many products": 0.35, "one hot product": 2.0}
WARM_SECONDS = 1.0
MOST_OF_PGBENCH = 15_000  # a second: so many carts wait for it

_numbers = count(1)


async def postgresql(bench: Bench) -> None:
    """Orders a second, spread over many products and all of one; and the round trips of an order."""
    if POSTGRESQL.find() is None:
        bench.skipped.append(f"PostgreSQL: {POSTGRESQL.package} isn't installed")
        return
    with on_cores(all_cores()), own_postgresql(bench.folder / "postgresql") as server:
        shop = Shop(server.url, bench.clients)
        try:
            await shop.open()
            for name in SCRIPTS:
                await _compare(bench, shop, name)
            trips = await shop.round_trips()
            bench.note_cost("PostgreSQL: round trips of an order", trips, "", at_most=3)
        finally:
            await shop.close()


async def _compare(bench: Bench, shop: Shop, name: str) -> None:
    warm = await shop.orders(name, WARM_SECONDS, int(WARM_SECONDS * 5000))
    most = int(warm.per_second * bench.seconds * 1.5)
    rounds = [
        (await shop.pgbench(name, bench.seconds), await shop.orders(name, bench.seconds, most))
        for _ in range(bench.rounds)
    ]
    title = f"PostgreSQL, {name}"
    bench.note(f"{title}: orders", median(run.per_second for _, run in rounds), "/s")
    bench.note(f"{title}: pgbench", median(floor for floor, _ in rounds), "/s")
    of_floor = median(run.per_second / floor for floor, run in rounds)
    bench.note(f"{title}: of pgbench", of_floor, "", at_least=DEMANDED[name])
    for percent in (50, 99):
        milliseconds = median(run.milliseconds(percent) for _, run in rounds)
        bench.note_cost(f"{title}: p{percent}", milliseconds, "ms")
    whole = await shop.orders(name, bench.seconds, most, reading=True)
    bench.note(f"{title}: orders with what they read", whole.per_second, "/s")


@dataclass
class Run:
    """Orders that were placed by so many clients, each one after the other, and what each took."""

    seconds: list[float] = field(default_factory=list)
    elapsed: float = 0.0

    @property
    def per_second(self) -> float:
        return len(self.seconds) / self.elapsed

    def milliseconds(self, percent: float) -> float:
        return percentile(self.seconds, percent) * 1000


class Shop:
    """The shop's tables in a database, with stock, and whoever comes with a filled cart."""

    def __init__(self, url: str, clients: int) -> None:
        self._url, self._clients = url, clients
        self._clock, self._random = SystemClock(), Random(1)
        self._records = PostgresRecords(url, TABLES, self._clock)
        self._order_ids: set[str] = set()

    async def open(self) -> None:
        await self._add(STOCK, [_stock(str(number)) for number in range(PRODUCTS + 1)])
        self._sql = await asyncpg.connect(self._url)
        (cart,) = await self._carts("many products", 1)
        await self._sql.execute(_function(await self._writes(cart)))
        await self._sql.execute(_filling(cart))

    async def close(self) -> None:
        await self._records.close()
        await self._sql.close()

    async def orders(self, name: str, seconds: float, most: int, *, reading: bool = False) -> Run:
        """Place orders until the time is over, or `most` are placed.

        `reading`: with everything that making one reads; else they are made before, and only committed.
        """
        carts = await self._carts(name, most)
        making = [self._writes(cart) for cart in carts]
        waiting = iter(making if reading else [_made(await one) for one in making])
        await self._sql.execute("VACUUM stock")
        run, started = Run(), perf_counter()

        async def client() -> None:
            for one in waiting:
                begun = perf_counter()
                if begun > started + seconds:
                    one.close()
                    break
                await self._records.commit(await one)
                run.seconds.append(perf_counter() - begun)

        await asyncio.gather(*[client() for _ in range(self._clients)])
        run.elapsed = perf_counter() - started
        for one in waiting:
            one.close()
        return run

    async def pgbench(self, name: str, seconds: float) -> float:
        """What PostgreSQL's own load program places a second with as many clients."""
        await self._sql.execute(f"CALL bench_fill({int(seconds * MOST_OF_PGBENCH)})", timeout=120)
        await self._sql.execute("VACUUM stock")
        return await asyncio.to_thread(_pgbench, self._url, name, self._clients, seconds)

    async def round_trips(self) -> int:
        """What one customer's order sends to the server, one message after the other, reading included."""
        async with Proxy(upstream(self._url)) as proxy:
            records = PostgresRecords(through(proxy, self._url), TABLES, self._clock)
            sent = 0

            def count_one() -> None:
                nonlocal sent
                sent += 1

            carts = await self._carts("many products", 2)
            await records.commit(await self._writes(carts[0], records))  # connected, and prepared
            proxy.decide = count_one
            await records.commit(await self._writes(carts[1], records))
            await records.close()
        return sent

    async def _carts(self, name: str, number: int) -> list[Cart]:
        skus = ["0"]
        carts = []
        for _ in range(number):
            if name == "many products":
                skus = [str(one) for one in self._random.sample(range(1, PRODUCTS + 1), 2)]
            cart = empty(f"buyer-{next(_numbers)}", self._clock.now())
            carts.append(cart.changed(tuple(_line(sku) for sku in skus), self._clock.now()))
        await self._add(CARTS, carts)
        return carts

    async def _writes(self, cart: Cart, records: Records | None = None) -> Sequence[Write]:
        """What an order of the cart commits, made as `POST /api/orders` makes it."""
        buyer = service.Buyer(cart.id, "bea@example.com", ADDRESS, "de")
        while True:
            tx = Transaction(records or self._records, self._clock.now(), new_id)
            await replay(tx, f"mark-of-{cart.id}", "fingerprint")
            order = await service.place(tx, buyer, Terms())
            answer = encode_json(view(order, "de"))
            remember(tx, f"mark-of-{cart.id}", "fingerprint", 201, answer)
            if order.id not in self._order_ids:  # a day's numbers are few for a bench
                self._order_ids.add(order.id)
                return tx.writes()

    async def _add(self, table: Table[T], values: Sequence[T]) -> None:
        parts = [values[at : at + AT_ONCE] for at in range(0, len(values), AT_ONCE)]
        for part in parts:
            await self._records.commit([Put(table, value, ABSENT) for value in part])


async def _made(writes: Sequence[Write]) -> Sequence[Write]:
    return writes


def _stock(sku: str) -> Stock:
    moment = SystemClock().now()
    return Stock(
        sku=sku, product_id=sku, stock=PLENTY, reserved=PLENTY, available=0, changed_at=moment
    )


def _line(sku: str) -> Line:
    title = Text("Ein Artikel der Messung", "An article of the bench")
    return Line(
        sku=sku,
        product_id=sku,
        title=title,
        picture="missing.svg",
        price=Money(1999),
        tax=TaxClass.STANDARD,
        quantity=1,
    )


def _pgbench(url: str, name: str, clients: int, seconds: float) -> float:
    reach = urlsplit(url)
    options = [
        *("-h", str(reach.hostname), "-p", str(reach.port), "-U", str(reach.username)),
        *("-c", str(clients), "-j", str(len(all_cores())), "-T", str(math.ceil(seconds))),
        *("-n", "-M", "prepared", "-f", "-"),
    ]
    done = subprocess.run(
        [Path(POSTGRESQL.find() or "").resolve().with_name("pgbench"), *options, reach.path[1:]],
        input=SCRIPTS[name],
        capture_output=True,
        text=True,
        timeout=60 + seconds,
        check=True,
    )
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    if not found:
        raise RuntimeError(done.stdout + done.stderr)
    return float(found[1])


def _function(writes: Sequence[Write]) -> str:
    """The statements of these writes as one function; its keys are as random or sorted as ours.

    The stock comes last, so that nobody waits for it longer than for the sync.
    """
    puts = {write.table.name: write for write in writes if isinstance(write, Put)}
    return f"""
    CREATE SEQUENCE bench_numbers;
    CREATE FUNCTION bench_order(skus text[]) RETURNS void LANGUAGE plpgsql AS $function$
    DECLARE
      n bigint := nextval('bench_numbers');
      moment bigint := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
      one text;
    BEGIN
      DELETE FROM carts WHERE key = 'bench-' || n AND version = 1 AND purge_at > moment;
      IF NOT FOUND THEN RAISE 'no cart'; END IF;
      {_insert(puts[MARKS.name], "md5(n::text) || '0123456789abcdef'")};
      {_insert(puts[ORDERS.name], ORDER, placed_at="moment", owner="'bench-' || n")};
      {_insert(puts[OUTBOX.name], EVENT)};
      {_insert(puts[LOG.name], f"'orders/' || {ORDER} || '#1'", id=EVENT, part=PART)};
      FOREACH one IN ARRAY skus LOOP
        UPDATE stock SET version = version + 1, stock = stock - 1, reserved = reserved - 1, changed_at = moment
        WHERE key = one AND stock >= 1 AND reserved >= 1;
        IF NOT FOUND THEN RAISE 'out of stock'; END IF;
      END LOOP;
    END $function$"""


def _filling(cart: Cart) -> str:
    """A procedure that adds so many carts for pgbench to order, and forgets those it left."""
    insert = _insert(Put(CARTS, cart, ABSENT), "'bench-' || nextval('bench_carts')")
    values = insert.replace("VALUES (", "SELECT ").removesuffix(")")
    return f"""
    CREATE SEQUENCE bench_carts;
    CREATE PROCEDURE bench_fill(number int) LANGUAGE plpgsql AS $procedure$
    BEGIN
      DELETE FROM carts WHERE key LIKE 'bench-%';
      PERFORM setval('bench_carts', nextval('bench_numbers'));
      {values} FROM generate_series(1, number);
    END $procedure$"""


def _insert(put: Put, key: str, **columns: str) -> str:
    """The statement that adds the put's record under another key, and with other columns where they are given."""
    row = put.table.row(put.value)
    names = ", ".join(["key", "version", "shape", "body", *put.table.columns])
    given = [
        columns.get(name) or _literal(value)
        for name, value in zip(put.table.columns, row.columns, strict=True)
    ]
    body = f"decode('{row.body.hex()}', 'hex')"
    values = ", ".join([key, "1", str(put.table.shape), body, *given])
    return f"INSERT INTO {put.table.name} ({names}) VALUES ({values})"


def _literal(value: str | int | None) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else f"'{value}'"
