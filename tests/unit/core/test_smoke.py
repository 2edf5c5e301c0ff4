"""A smoke statement cannot end the transaction that takes it back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.cutover.smoke import SmokeFailed, refuse_transaction_control

SKIPPED = st.lists(
    st.sampled_from([" ", "\n", "\t", ";", "-- a\n", "--\r", "/* a */", "/* /* a */ -- */", "/**/", "/* ; -- \n */"])
).map("".join)
CONTROL = [
    "commit",
    "COMMIT AND CHAIN",
    "begin",
    "start transaction",
    "end",
    "rollback",
    "abort",
    "savepoint a",
    "release a",
    "prepare transaction 'x'",
    "set role shop_owner",
    "SET LOCAL ROLE none",
    "set session authorization postgres",
    "set session session authorization default",
    "reset role",
    "commit/* */",
]


@given(SKIPPED, st.sampled_from(CONTROL))
def test_transaction_control_is_refused_whatever_stands_before_it(skipped: str, statement: str) -> None:
    with pytest.raises(SmokeFailed, match="transaction control is not allowed"):
        refuse_transaction_control(skipped + statement)


@pytest.mark.parametrize(
    "statement",
    [
        "select 1 from public.orders limit 1",
        "insert into commits values (1)",
        "-- commit\nselect 1",
        "/* commit */ select 1",
        "/* /* */ commit */ select 1",
        "ending_balance",
        "set local search_path = public",
        "with rollback as (select 1) select * from rollback",
        "",
        "/* never closed",
    ],
)
def test_everything_else_is_left_to_the_server(statement: str) -> None:
    refuse_transaction_control(statement)
