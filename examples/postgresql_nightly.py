"""Backs up every database of a PostgreSQL server and tells what an operator should look at.

    python postgresql_nightly.py postgresql://dba@db1/postgres?sslmode=verify-full /backups/2026-11-27

The password comes from ~/.pgpass or PGPASSWORD. It ends with 1 if a backup failed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import quote

from gds_database import open_engine


def main(url: str, folder: str) -> int:
    """Back up to one file for each database."""
    target = Path(folder)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    failed = 0
    with open_engine(url) as engine:
        for database in engine.list_databases():
            # A name may be anything, a slash in it too.
            result = database.backup(str(target / f"{quote(database.name, safe='')}.dump"))
            print(f"{database.name}: {result.message if result.is_success() else result.error}")
            failed += result.is_failure()
        status = engine.get_replication_status()
        print(f"{status.role} with {len(status.partners)} partners, {status.lag_seconds:.1f} s behind")
        for session in engine.list_processes():
            if session["blocked_by"]:
                print(f"session {session['id']} waits for {', '.join(session['blocked_by'])}")
        for setting, value in engine.get_configuration().items():
            if setting in {"fsync", "full_page_writes"} and value is False:
                print(f"{setting} is off: a crash of the machine may lose the server")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
