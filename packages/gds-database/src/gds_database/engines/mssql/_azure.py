"""What Azure SQL Database has not: ``capabilities()`` says it in the words in which the calls refuse."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["LACKS", "Lack"]


class Lack(NamedTuple):
    """Why there is no such thing, in half a sentence, and what to use instead."""

    why: str
    use: str

    def __str__(self) -> str:
        return f"{self.why}; use {self.use}"


_BACKUP = Lack("Azure SQL Database is backed up by Azure", "az sql db export")

LACKS = {
    "backup_full": _BACKUP,
    "backup_differential": _BACKUP,
    "backup_incremental": _BACKUP,
    "backup_transaction_log": _BACKUP,
    "restore": Lack("Azure SQL Database is restored by Azure", "az sql db restore"),
    "create_user": Lack(
        "Azure SQL Database takes no hashed password, and no other goes into a statement",
        "CREATE USER [name] FROM EXTERNAL PROVIDER, with Entra",
    ),
    "set_configuration": Lack("Azure SQL Database has no sp_configure", "ALTER DATABASE SCOPED CONFIGURATION"),
    "get_logs": Lack("Azure SQL Database has no error log to read", "its diagnostic settings"),
    "shutdown": Lack("Azure SQL Database is run by Azure", "its serverless tier, which pauses"),
}
"""By the names of `gds_database.capabilities.OPERATIONS`."""
