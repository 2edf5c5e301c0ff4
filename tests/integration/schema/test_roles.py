"""Roles and the database's own properties are carried, never taken away, and never shown with their secrets."""

from __future__ import annotations

import psycopg
import pytest

from crossfade.connect import scalar
from crossfade.errors import PreconditionError
from crossfade.schema.database import ConnectGrant, carry_database, connect_grants
from crossfade.schema.roles import Role, ensure_roles, read_roles
from crossfade_lab.testing import ShopPair


def plain(name: str, **given: object) -> Role:
    attributes = dict.fromkeys(("login", "createdb", "createrole", "replication", "bypassrls", "owns"), False)
    known = {"inherit": True, "connection_limit": -1, "valid_until": None, "comment": None}
    return Role(name=name, **{**attributes, **known, **given})


@pytest.fixture
def on_target(servers: ShopPair):
    """The target's superuser; roles whose name begins with r_ go at the end."""
    with servers.target.connect() as conn:
        yield conn
        for (name,) in conn.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'r\\_%'").fetchall():
            conn.execute(f'DROP ROLE "{name}"'.encode())


def test_roles_that_matter_are_read_with_their_closure(zoo, moves) -> None:
    roles = {role.name: role for role in read_roles(moves(zoo).source, ["shop_app"])}
    assert set(roles) == {"zoo_owner", "zoo_keeper", "Zoo Visitor", "zoo_vets", "shop_app"}
    assert roles["zoo_owner"].owns
    assert not roles["zoo_vets"].owns
    assert roles["zoo_vets"].comment == "Look, don't touch"
    assert {m.group: (m.admin, m.inherit, m.set) for m in roles["zoo_keeper"].memberships} == {
        "pg_monitor": (False, True, True),
        "zoo_vets": (True, False, True),
    }
    settings = {(s.name, s.in_database): s.value for s in roles["zoo_keeper"].settings}
    assert settings[("search_path", True)] == '"$user", "Strange, schema", public'


def test_the_reporting_user_who_reads_only_through_a_group_is_not_forgotten(servers, moves) -> None:
    with servers.source.connect() as conn:
        conn.execute("CREATE ROLE only_through_group LOGIN IN ROLE shop_readers")
        try:
            assert "only_through_group" in {role.name for role in read_roles(moves().source, [])}
        finally:
            conn.execute("DROP ROLE only_through_group")


def test_superusers_the_providers_and_ourselves_are_not_read(shop_move) -> None:
    names = {role.name for role in read_roles(shop_move.source, ["postgres", "crossfade"])}
    assert names == {"shop_app", "shop_bi", "shop_owner", "shop_readers"}


def test_everything_of_a_role_arrives_and_the_same_password_logs_in(zoo, moves, servers) -> None:
    move = moves(zoo)
    notes = move.carry_roles()
    assert any("zoo_keeper is not in pg_monitor" in note for note in notes)
    assert any("zoo_keeper lacks the setting zoo.colour=it's" in note for note in notes)  # needs SET ON PARAMETER
    with psycopg.connect(servers.target.dsn(user="Zoo Visitor", password="it's", dbname="postgres")) as conn:
        assert conn.execute("SHOW is_superuser").fetchone() == ("off",)
    dbname = move.target.info.dbname
    with psycopg.connect(servers.target.dsn(user="zoo_keeper", password="keeper", dbname=dbname)) as conn:
        assert conn.execute("SHOW search_path").fetchone() == ('"$user", "Strange, schema", public',)
    there = {role.name: role for role in read_roles(move.target, ["zoo_keeper", "Zoo Visitor", "zoo_vets"])}
    assert there["zoo_keeper"].valid_until.startswith("2099-01-01")
    assert there["zoo_keeper"].connection_limit == 7
    assert next(m for m in there["zoo_keeper"].memberships if m.group == "zoo_vets").admin
    assert there["zoo_vets"].createdb
    assert not there["zoo_vets"].inherit
    assert there["zoo_vets"].comment == "Look, don't touch"
    for role in there:
        assert scalar(move.target, "SELECT pg_has_role(%s, 'SET') AND pg_has_role(%s, 'USAGE')", [role, role])


def test_no_verifier_is_ever_shown(zoo, moves) -> None:
    move = moves(zoo)
    roles = read_roles(move.source, ["shop_app"])
    assert any(role.verifier and role.verifier.startswith("SCRAM-SHA-256$") for role in roles)
    notes = ensure_roles(move.target, roles, move.report)
    assert "SCRAM" not in repr(roles) + repr(notes) + repr(move.said)


def test_an_existing_role_keeps_its_password_and_attributes(shop_move, on_target) -> None:
    on_target.execute("CREATE ROLE r_app LOGIN PASSWORD 'theirs' CONNECTION LIMIT 3")
    on_target.execute("ALTER ROLE r_app SET work_mem = '1MB'")
    on_target.execute("GRANT r_app TO crossfade WITH ADMIN TRUE")
    before = on_target.execute("SELECT * FROM pg_authid WHERE rolname = 'r_app'").fetchall()
    wanted = plain("r_app", login=True, verifier="SCRAM-SHA-256$4096:AAAA$BBBB:CCCC", createdb=True)
    notes = ensure_roles(shop_move.target, [wanted], shop_move.report)
    assert on_target.execute("SELECT * FROM pg_authid WHERE rolname = 'r_app'").fetchall() == before
    assert notes == [
        "role r_app was there already: its password and attributes are kept; on the source it has another createdb, "
        "connection_limit"
    ]


def test_attributes_that_are_not_ours_to_give_are_reported(shop_move, on_target) -> None:
    notes = ensure_roles(shop_move.target, [plain("r_bypass", bypassrls=True, replication=True)], shop_move.report)
    assert any("lacks BYPASSRLS" in note and 'ALTER ROLE "r_bypass" BYPASSRLS' in note for note in notes)
    assert on_target.execute(
        "SELECT rolbypassrls, rolreplication FROM pg_roles WHERE rolname = 'r_bypass'"
    ).fetchall() == [(False, True)]


def test_an_owner_we_cannot_act_for_is_refused_and_nothing_is_changed(shop_move, on_target) -> None:
    on_target.execute("CREATE ROLE r_owner")
    with pytest.raises(PreconditionError, match='GRANT "r_owner" TO "crossfade" WITH INHERIT TRUE, SET TRUE;'):
        ensure_roles(shop_move.target, [plain("r_new"), plain("r_owner", owns=True)], shop_move.report)
    assert not on_target.execute("SELECT FROM pg_roles WHERE rolname = 'r_new'").fetchall()


def test_an_existing_owner_that_we_administer_is_made_usable(shop_move, on_target) -> None:
    on_target.execute("CREATE ROLE r_owner")
    on_target.execute("GRANT r_owner TO crossfade WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
    ensure_roles(shop_move.target, [plain("r_owner", owns=True)], shop_move.report)
    assert scalar(shop_move.target, "SELECT pg_has_role('r_owner', 'SET') AND pg_has_role('r_owner', 'USAGE')")


def test_a_grant_option_of_another_role_does_not_divert_a_revoke(zoo, moves, servers) -> None:
    """PostgreSQL lets a member of several roles revoke as any that has the grant option: then nothing is revoked."""
    move = moves(zoo)
    move.carry_roles()
    name = move.target.info.dbname
    with servers.target.connect(name) as conn:
        conn.execute(f"ALTER DATABASE {name} OWNER TO zoo_owner".encode())
        conn.execute(f"GRANT TEMPORARY, CREATE ON DATABASE {name} TO zoo_keeper, zoo_vets WITH GRANT OPTION".encode())
    carry_database(move.source, move.target, move.report)
    query = "SELECT has_database_privilege(%s, %s, %s) AS has"
    assert not scalar(move.target, query, ["shop_app", name, "TEMPORARY"])  # PUBLIC's
    assert not scalar(move.target, query, ["zoo_vets", name, "CREATE"])


def test_the_databases_own_properties_arrive_and_carrying_again_changes_nothing(zoo, moves) -> None:
    move = moves(zoo)
    move.carry_roles()
    for _ in range(2):
        opened_to = carry_database(move.source, move.target, move.report)
        assert opened_to == [ConnectGrant(role=None, grantable=False), ConnectGrant(role="zoo_owner", grantable=False)]
    name = move.target.info.dbname
    row = move.target.execute(
        "SELECT pg_get_userbyid(datdba) AS owner, shobj_description(oid, 'pg_database') AS comment,"
        " has_database_privilege('zoo_keeper', oid, 'CREATE WITH GRANT OPTION') AS create,"
        " has_database_privilege('shop_app', oid, 'TEMPORARY') AS public_temporary,"
        " has_database_privilege(current_user, oid, 'CREATE') AS ours FROM pg_database WHERE datname = %s",
        [name],
    ).fetchone()
    assert row == {"owner": "zoo_owner", "comment": "The zoo", "create": True, "public_temporary": False, "ours": True}
    assert connect_grants(move.target) == opened_to
    assert not [text for text in move.said if text.startswith("not carried")]
