"""Whatever a name or a password is, it is hidden, or taken, as it is."""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from gds_database import EngineConfig
from gds_database._redact import Secrets
from gds_database.testing import InMemoryEngine

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)
PASSWORDS = st.one_of(TEXT, st.text(st.sampled_from([chr(code) for code in range(32, 127)]), min_size=1, max_size=40))


@given(PASSWORDS, TEXT, TEXT)
@settings(deadline=None)
def test_no_spelling_of_a_secret_is_left(secret: str, before: str, after: str) -> None:
    secrets = Secrets()
    secrets.add(secret)
    spellings = {
        secret,
        secret.replace("'", "''"),
        json.dumps(secret)[1:-1],
        quote(secret, safe=""),
        repr(secret)[1:-1],
    }
    for spelling in spellings:
        hidden = secrets.redact(f"{before}{spelling}{after}")
        # The stars, the sentence that replaces all, and what stood there before may spell a short secret by chance.
        rest = hidden.replace("********", "") if len(secret) >= 4 else ""
        assert len(secret) < 4 or spelling not in rest or spelling in before + after
        assert len(secret) >= 4 or hidden == "the message is withheld: it may hold a password"


@given(
    st.one_of(st.none(), TEXT), st.one_of(st.none(), PASSWORDS), st.one_of(st.none(), TEXT.filter(lambda t: t != "/"))
)
@settings(deadline=None)
def test_an_address_gives_back_who_and_where(user: str | None, password: str | None, database: str | None) -> None:
    login = "" if user is None else quote(user, safe="")
    if password is not None:
        login += ":" + quote(password, safe="")
    address = (
        f"memory://{login}{'@' if login else ''}host:5{'' if database is None else '/' + quote(database, safe='')}"
    )
    config = EngineConfig.parse(address)
    assert (config.host, config.port) == ("host", 5)
    assert (config.user, config.password, config.database) == (user, password, database)
    # The same whatever the password is: the user may be called like it.
    assert repr(config) == repr(replace(config, password="another"))


@given(st.lists(TEXT, min_size=1, max_size=4, unique=True), PASSWORDS)
@settings(deadline=None)
def test_names_are_taken_as_they_are_and_passwords_kept_nowhere(names: list[str], password: str) -> None:
    with InMemoryEngine() as engine:
        for name in names:
            assert engine.get_database(name).create().is_success()
            result = engine.create_user(name, password + "Canary-1")
            assert result.is_success()
            assert (password + "Canary-1") not in repr(result) + repr(engine)
        assert [each.name for each in engine.list_databases()] == sorted(names)
        assert engine.list_users() == sorted(names)
