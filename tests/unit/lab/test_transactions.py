"""The workload's mix touches only rows that its client knows to exist."""

from collections import Counter
from itertools import islice

from crossfade_lab.ledger import DELETED
from crossfade_lab.transactions import Mix, Transaction


def played(mix: Mix, count: int, *, applied: bool | None = True) -> list[Transaction]:
    """The first transactions of a mix, all with the same outcome."""
    taken = []
    for transaction in islice(mix.transactions(), count):
        mix.learn(transaction, applied)
        taken.append(transaction)
    return taken


def test_the_mix_puts_changes_and_deletes_every_kind() -> None:
    seen = Counter((t.kind, t.action) for t in played(Mix("1a", 0), 2000))
    kinds = {"order", "document", "archive", "price"}
    assert {pair for pair in seen if pair[0] in kinds} == {
        (kind, action) for kind in kinds for action in ("put", "change", "delete")
    }


def test_only_keys_that_exist_are_changed_or_deleted() -> None:
    alive: set[str] = set()
    for transaction in played(Mix("1a", 4), 2000):
        key = transaction.write.key
        assert (key in alive) == (transaction.action != "put")
        if transaction.write.value == DELETED:
            alive.remove(key)
        else:
            alive.add(key)


def test_a_key_whose_write_has_an_unknown_outcome_is_never_touched_again() -> None:
    mix = Mix("1a", 0)
    touched = []
    for turn, transaction in enumerate(islice(mix.transactions(), 400)):
        mix.learn(transaction, True if turn < 200 else None)
        touched.append(transaction.write.key)
    assert len(touched[200:]) == len(set(touched[200:]))


def test_two_clients_never_write_the_same_key() -> None:
    keys = [{t.write.key for t in played(Mix("1a", client), 300)} for client in (0, 1)]
    assert not keys[0] & keys[1]
