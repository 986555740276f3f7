# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Tokens and ids."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from dcm_service import snowflake, tokens
from dcm_service.cli import main
from dcm_service.errors import ServiceError

KEY, OTHER = "k" * 40, "o" * 40


def signed(**claims: Any) -> str:
    """A token with these claims beside the usual ones."""
    usual = {"sub": "me", "guilds": ["1"], "exp": int(time.time()) + 86400}
    return jwt.encode({key: value for key, value in {**usual, **claims}.items() if value is not None}, KEY, algorithm="HS256")


def unsigned() -> str:
    """A token of the algorithm `none`."""
    parts = [{"alg": "none", "typ": "JWT"}, {"sub": "me", "guilds": ["1"], "exp": int(time.time()) + 86400}]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


def test_a_minted_token_is_accepted() -> None:
    principal = tokens.verify([KEY], tokens.mint(KEY, "me", [1, 2], 60))
    assert principal == tokens.Principal("me", frozenset({1, 2}))


def test_an_older_key_still_verifies() -> None:
    assert tokens.verify([OTHER, KEY], tokens.mint(KEY, "me", [1], 60)).guilds == {1}


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (signed(exp=int(time.time()) - 60), "has expired"),
        (signed(exp=None), "exp"),
        (signed(sub=None), "sub"),
        (signed(guilds=None), "guilds must be a list"),
        (signed(guilds="1"), "guilds must be a list"),
        (signed(guilds=[1]), "guilds must be a list of strings"),
        (signed(guilds=["0"]), "something else than Discord ids"),
        (unsigned(), "not valid"),
        ("", "not valid"),
        ("a.b.c", "not valid"),
    ],
)
def test_a_token_that_is_not_acceptable(token: str, reason: str) -> None:
    with pytest.raises(tokens.TokenError, match=reason):
        tokens.verify([KEY], token)


def test_a_foreign_signature() -> None:
    with pytest.raises(tokens.TokenError, match="not signed by this platform"):
        tokens.verify([OTHER], signed())


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3600), ("7d", 604800)])
def test_durations(text: str, seconds: int) -> None:
    assert tokens.parse_ttl(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "0h", "-1h", "1.5h", "1w", "٣h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ServiceError, match="--ttl"):
        tokens.parse_ttl(text)


@pytest.mark.parametrize("text", ["1", "111111111111111111", str(2**63 - 1)])
def test_ids(text: str) -> None:
    assert snowflake.parse(text) == int(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "01", " 1", "1\n", "1; drop schema", "٣", "1e3", str(2**63), str(2**64)])
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(ValueError, match="is not a Discord id"):
        snowflake.parse(text)


def test_the_command_mints_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "api-signing-key").write_text(KEY, encoding="utf-8")
    monkeypatch.setenv("DCM_SECRETS_DIR", str(tmp_path))
    assert main(["token", "--guild", "1", "--guild", "2", "--ttl", "5m"]) == 0
    assert tokens.verify([KEY], capsys.readouterr().out.strip()).guilds == {1, 2}
    with pytest.raises(SystemExit):
        main(["token", "--guild", "1; drop schema"])
    assert "is not a Discord id" in capsys.readouterr().err
