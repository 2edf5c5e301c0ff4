"""The transactions of the workload: a mix of what a shop's application does, each with one entry in the ledger.

A client keeps the keys it made and puts, changes and deletes only those, so that the order of the writes of a key is
total. Every transaction also inserts one event with its uid: nothing makes that unique, so a doubled write shows.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from psycopg2.extensions import cursor as Cursor

from crossfade_lab.ledger import DELETED, Write

EVENT = "INSERT INTO events (uid, kind, value, payload) VALUES (%(uid)s, %(kind)s, %(number)s, %(payload)s);"

#: kind -> statements that put a fresh row, change it, delete it. All run in one transaction with EVENT.
STATEMENTS: dict[str, dict[str, str]] = {
    "document": {
        "put": """
            INSERT INTO documents (title, body, content)
            VALUES (%(name)s, jsonb_build_object('value', %(number)s::text),
                    decode(repeat(md5(%(name)s), %(size)s), 'hex'));""",
        "change": """
            UPDATE documents SET body = body || jsonb_build_object('value', %(number)s::text)
            WHERE title = %(name)s;""",
        "delete": "DELETE FROM documents WHERE title = %(name)s;",
    },
    "archive": {
        "put": """
            INSERT INTO "Order Items Archive" ("Order Id", line, "naïve""quote", "select")
            VALUES (%(row)s, %(line)s, %(name)s, %(number)s);""",
        "change": """
            UPDATE "Order Items Archive" SET "select" = %(number)s
            WHERE "Order Id" = %(row)s AND line = %(line)s AND "naïve""quote" = %(name)s;""",
        "delete": """
            DELETE FROM "Order Items Archive"
            WHERE "Order Id" = %(row)s AND line = %(line)s AND "naïve""quote" = %(name)s;""",
    },
    "price": {
        "put": "INSERT INTO prices (sku, valid_from, price) VALUES (%(name)s, '2026-01-01', %(number)s);",
        "change": "UPDATE prices SET price = %(number)s WHERE sku = %(name)s;",
        "delete": "DELETE FROM prices WHERE sku = %(name)s;",
    },
    "invoice": {
        "put": "INSERT INTO billing.invoices (customer_id, amount, memo) VALUES (%(customer)s, %(number)s, %(name)s);",
    },
}

#: What begins an order's transaction, which stays open, and what follows; EVENT and COMMIT come after.
ORDERS: dict[str, tuple[str, str]] = {
    "put": (
        """
        BEGIN;
        INSERT INTO orders (request_id, customer_id, total) VALUES (%(name)s, %(customer)s, %(number)s)
        RETURNING id""",
        """
        WITH paid AS (
            INSERT INTO payments (order_id, amount, method) VALUES (%(order)s, %(number)s, 'card') RETURNING id
        )
        UPDATE orders SET final_payment_id = paid.id FROM paid WHERE orders.id = %(order)s;
        INSERT INTO order_items (order_id, line, sku, quantity, unit_price)
        VALUES (%(order)s, 1, 'SKU-1', 1, 2.5), (%(order)s, 2, 'SKU-2', 3, %(number)s);""",
    ),
    "change": (
        "BEGIN; UPDATE orders SET total = %(number)s, state = 'paid' WHERE request_id = %(name)s RETURNING id",
        """
        UPDATE payments SET amount = %(number)s WHERE order_id = %(order)s;
        UPDATE order_items SET unit_price = %(number)s WHERE order_id = %(order)s AND line = 2;
        UPDATE customers SET credit = credit + 0.01 WHERE id = %(customer)s;""",
    ),
    "delete": (
        "BEGIN; UPDATE orders SET final_payment_id = NULL WHERE request_id = %(name)s RETURNING id",
        "DELETE FROM payments WHERE order_id = %(order)s; DELETE FROM orders WHERE id = %(order)s;",
    ),
}

WEIGHTS = {"order": 35, "document": 25, "archive": 20, "price": 10, "invoice": 10}
MOST_KEYS = 40  #: rows a client keeps alive per kind; beyond it deletes


class RowMissing(Exception):
    """A row that the client knows to exist was not found by UPDATE or DELETE: an acknowledged write is gone."""


@dataclass(slots=True)
class Transaction:
    """One transaction to be sent: what the ledger says of it, and the statements."""

    write: Write
    kind: str
    action: str  #: put, change or delete
    parameters: dict[str, object]
    committing: bool = False  #: whether COMMIT may have reached the server, so that a lost connection proves nothing

    def send(self, cursor: Cursor) -> None:
        """Run it; returns when the database has acknowledged the commit."""
        if self.kind == "order":
            self._send_order(cursor)
            return
        self.committing = True  # one message: BEGIN, statements and COMMIT travel together
        cursor.execute("BEGIN;" + EVENT + STATEMENTS[self.kind][self.action] + "COMMIT", self.parameters)

    def _send_order(self, cursor: Cursor) -> None:
        """Several messages, as an application's unit of work does: the transaction stays open between them."""
        first, second = ORDERS[self.action]
        cursor.execute(first, self.parameters)
        found = cursor.fetchone()
        if found is None:
            cursor.execute("ROLLBACK")
            raise RowMissing(f"order {self.write.key} was acknowledged and is not there")
        self.parameters["order"] = found[0]
        cursor.execute(second + EVENT, self.parameters)
        self.committing = True
        cursor.execute("COMMIT")


@dataclass(slots=True)
class Mix:
    """The endless sequence of one client's transactions."""

    run: str
    client: int
    customers: int = 10  #: ids of sample customers that exist
    seed: int | None = None
    _alive: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in WEIGHTS})

    def transactions(self) -> Iterator[Transaction]:
        """Transactions for ever. `learn` must be told of each outcome before the next is taken."""
        chance = random.Random(self.seed if self.seed is not None else f"{self.run}-{self.client}")
        kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
        number = 0
        while True:
            number += 1
            kind = chance.choices(kinds, weights)[0]
            action = self._action(kind, chance.random)
            name = chance.choice(self._alive[kind]) if action != "put" else f"{self.run}-{self.client}-{number}"
            yield self._transaction(kind, action, name, number, chance)

    def _action(self, kind: str, dice: Callable[[], float]) -> str:
        alive = len(self._alive[kind])
        if kind == "invoice" or alive < 3:
            return "put"
        if alive >= MOST_KEYS:
            return "delete"
        draw = dice()
        return "put" if draw < 0.35 else "change" if draw < 0.85 else "delete"

    def _transaction(self, kind: str, action: str, name: str, number: int, chance: random.Random) -> Transaction:
        uid = f"{self.run}-{self.client}-{number}"
        value = DELETED if action == "delete" else str(number)
        born = int(name.rsplit("-", 1)[1])
        parameters: dict[str, object] = {
            "uid": uid,
            "kind": f"{kind}.{action}",
            "number": number,
            "name": name,
            "payload": '{"workload": true}',
            "customer": chance.randint(1, self.customers),
            "size": 2000 if born % 10 == 0 else born % 20,  # every tenth document is 32 kB, kept out of line
            "row": (int(self.run, 36) % 10**6 + 1) * 10**12 + born,
            "line": self.client,
        }
        return Transaction(Write(uid=uid, key=f"{kind}:{name}", value=value), kind, action, parameters)

    def learn(self, transaction: Transaction, applied: bool | None) -> None:
        """Remember which keys exist. One whose write has an unknown outcome (None) is never touched again."""
        alive = self._alive[transaction.kind]
        name = transaction.write.key.partition(":")[2]
        if applied and transaction.action == "put" and transaction.kind != "invoice":
            alive.append(name)
        elif name in alive and (applied is None or (applied and transaction.action == "delete")):
            alive.remove(name)
