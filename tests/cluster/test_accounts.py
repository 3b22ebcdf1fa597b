"""Accounts: SIDs, tokens, names without case, and never a password in what is kept."""

from __future__ import annotations

import json

import pytest

from cluster import config
from cluster.accounts import ADMINISTRATORS, USERS, Accounts, AccountsRecord, new_machine_sid
from cluster.errors import AlreadyExists, ConfigError, NotFound, OperatorError


def accounts() -> Accounts:
    return Accounts(new_machine_sid(bytes(range(12))))


def test_a_user_gets_the_machines_sid_and_the_next_rid() -> None:
    """[MS-SAMR] 3.1.4.2: RIDs of accounts that are made begin at 1000."""
    made = accounts()
    assert made.add("ana", "pass").rid == 1000
    assert made.add("bob", "pass").rid == 1001
    assert made.sid_by_name("BOB") == f"{made.machine_sid}-1001"
    made.remove("bob")
    assert made.add("carol", "x").rid == 1002, "a RID is never used twice"


def test_the_hash_is_kept_and_the_password_is_not() -> None:
    made = accounts()
    made.add("ana", "Password")
    text = config.dump(made.to_record())
    assert "Password" not in text
    # [MS-NLMP] 4.2.2.1.2 NTOWFv1: the NT hash of "Password"
    assert "a4f49c406510bdcab6824ee7c30fd852" in text
    again = Accounts.from_record(config.load_one(AccountsRecord, text, "users.json"), "users.json")
    assert again.to_record() == made.to_record()
    assert "a4f49c" not in repr(made.find("ana"))


def test_an_administrator_has_the_group_and_its_privileges() -> None:
    made = accounts()
    admin, user = made.token(made.add("root", "x", is_admin=True)), made.token(made.add("ana", "x"))
    assert ADMINISTRATORS in admin.sids and "SeBackupPrivilege" in admin.privileges
    assert ADMINISTRATORS not in user.sids and user.privileges == {"SeChangeNotifyPrivilege"}
    assert {USERS, "S-1-1-0", "S-1-5-11"} <= user.sids


def test_names_compare_without_case_and_are_checked() -> None:
    made = accounts()
    made.add("Ana", "x")
    with pytest.raises(AlreadyExists):
        made.add("aNA", "y")
    for bad in ("", "a/b", " a", "a.", "x" * 65, "a@b"):
        with pytest.raises(OperatorError):
            made.add(bad, "x")
    with pytest.raises(NotFound, match="sofs user list"):
        made.remove("nobody")


@pytest.mark.parametrize(
    "user", [{}, {"name": "a", "rid": 1, "nt_hash": "zz"}, {"name": "a", "rid": 1, "nt_hash": "00"}]
)
def test_a_damaged_account_is_refused(user: dict[str, object]) -> None:
    text = json.dumps({"format": 1, "body": {"machine_sid": "S-1-5-21-1-2-3", "users": [user]}})
    with pytest.raises(ConfigError, match="users.json"):
        Accounts.from_record(config.load_one(AccountsRecord, text, "users.json"), "users.json")
