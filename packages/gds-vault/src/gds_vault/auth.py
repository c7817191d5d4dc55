"""How to log in: with an AppRole, a token, or a name and a password.

These only hold what a client needs to log in; no ``repr`` shows it. Two that are equal share what a cache holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from gds_vault._checks import header_text, secret_path, text

if TYPE_CHECKING:
    from typing import TypeAlias

__all__ = ["AppRoleAuth", "Auth", "TokenAuth", "UserpassAuth"]


@dataclass(frozen=True)
class AppRoleAuth:
    """Log in as an AppRole: what programs should do.

    Args:
        role_id: Which role.
        secret_id: Its secret.
        mount_point: Where the method is mounted, below ``auth/``.
    """

    role_id: str = field(repr=False)
    secret_id: str = field(repr=False)
    mount_point: str = "approle"

    method: ClassVar[str] = "approle"

    def __post_init__(self) -> None:
        text("role_id", self.role_id)
        text("secret_id", self.secret_id)
        secret_path(self.mount_point, "mount_point")

    def login(self) -> tuple[str, dict[str, str]]:
        """The path to log in at, and what to send there."""
        return f"auth/{secret_path(self.mount_point)}/login", {"role_id": self.role_id, "secret_id": self.secret_id}


@dataclass(frozen=True)
class UserpassAuth:
    """Log in with a name and a password.

    Args:
        username: Who.
        password: The password.
        mount_point: Where the method is mounted, below ``auth/``.
    """

    username: str
    password: str = field(repr=False)
    mount_point: str = "userpass"

    method: ClassVar[str] = "userpass"

    def __post_init__(self) -> None:
        secret_path(text("username", self.username), "username")
        text("password", self.password)
        secret_path(self.mount_point, "mount_point")

    def login(self) -> tuple[str, dict[str, str]]:
        """The path to log in at, and what to send there."""
        return f"auth/{secret_path(self.mount_point)}/login/{self.username}", {"password": self.password}


@dataclass(frozen=True)
class TokenAuth:
    """Use a token that somebody else got. It is renewed, but cannot be had anew when it is dead.

    Args:
        token: The token.
    """

    token: str = field(repr=False)

    method: ClassVar[str] = "token"

    def __post_init__(self) -> None:
        header_text("token", self.token)


Auth: TypeAlias = "AppRoleAuth | TokenAuth | UserpassAuth"
