"""pg_restore's list and script are taken apart without believing the names in them."""

from __future__ import annotations

import pytest

from crossfade.errors import FatalError
from crossfade.schema.archive import parse_list, parse_script

LIST = """;
; Archive created at 2026-11-21 09:45:56 UTC
;
6; 2615 16390 SCHEMA - billing shop_owner
2776; 0 0 ACL pg_catalog TABLE pg_authid postgres
231; 1259 16479 TABLE ATTACH events odd
2491; 0 0 TABLE ATTACH public events_2026_07 shop_owner
2604; 2606 16585 FK CONSTRAINT public my table x; Type: INDEX shop owner
;	depends on: 231 229
2129; 826 16646 DEFAULT ACL public DEFAULT PRIVILEGES FOR TABLES shop_owner
2514; 2604 16470 DEFAULT public events id shop_owner
"""

HEADER = r"""--
-- PostgreSQL database dump
--

\restrict AbC

-- Dumped from database version 16.14

SET transaction_timeout = 0;

"""
TRAILER = r"""-- Completed on 2026-11-21 09:53:45 UTC

--
-- PostgreSQL database dump complete
--

\unrestrict AbC

"""


def heading(dump_id: int, catalog: int, oid: int, name: str, needs: str = "") -> str:
    dependencies = f"-- Dependencies: {needs}\n" if needs else ""
    return (
        f"--\n-- TOC entry {dump_id} (class {catalog} OID {oid})\n{dependencies}-- Name: {name}\n-- Data Pos: 0\n--\n\n"
    )


def test_the_list_tells_kinds_apart_even_where_a_schema_is_named_like_one() -> None:
    kinds = {number: entry[2] for number, entry in parse_list(LIST).items()}
    assert kinds == {
        6: "SCHEMA",
        2776: "ACL",
        231: "TABLE",  # in a schema called ATTACH
        2491: "TABLE ATTACH",
        2604: "FK CONSTRAINT",
        2129: "DEFAULT ACL",
        2514: "DEFAULT",
    }


def test_the_list_knows_what_lies_in_pg_catalog() -> None:
    assert [number for number, entry in parse_list(LIST).items() if entry[3]] == [2776]


def test_the_script_is_split_without_headers_and_psql_commands() -> None:
    text = (
        HEADER
        + heading(6, 2615, 16390, "billing; Type: SCHEMA; Schema: -; Owner: o")
        + "CREATE SCHEMA billing;\n\n\nSET default_table_access_method = heap;\n\n"
        + heading(2604, 2606, 16585, "my table x; Type: FK CONSTRAINT; Schema: public; Owner: o", "231 229")
        + "ALTER TABLE x\n    ADD FOREIGN KEY (a);\n\n\n"
        + TRAILER
    )
    schema, key = parse_script(text, parse_list(LIST), "pre-data")
    assert schema.sql == "CREATE SCHEMA billing;\n"
    assert key.sql == "SET default_table_access_method = heap;\n\nALTER TABLE x\n    ADD FOREIGN KEY (a);\n"
    assert key.needs == {231, 229}
    assert (key.kind, key.oid, key.label, key.owner) == ("FK CONSTRAINT", 16585, "FK CONSTRAINT my table x", "o")


def test_a_definition_that_imitates_a_heading_of_nothing_is_refused() -> None:
    text = HEADER + heading(6, 2615, 16390, "a") + heading(7, 1, 1, "b") + "DROP TABLE x;\n" + TRAILER
    with pytest.raises(FatalError, match="holds an entry 7 that its list does not"):
        parse_script(text, parse_list(LIST), "pre-data")
