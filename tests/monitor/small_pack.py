"""A small pack with one of everything."""

from __future__ import annotations

from gds_monitor.packs.load import parse_pack
from gds_monitor.packs.model import Pack

__all__ = ["SMALL", "small"]

SMALL = """
pack: small
engine: postgresql
collectors:
- name: backends
  queries:
  - name: backends
    sql: SELECT count(*) AS n FROM pg_stat_activity
    metrics:
    - {name: postgresql.backends, value: n, unit: "{connection}"}
- name: tables
  scope: database
  queries:
  - name: sizes
    sql: >-
      SELECT relname, pg_table_size(oid) AS size FROM pg_class
      WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    labels: {db.collection.name: relname}
    metrics:
    - {name: postgresql.table.size, value: size, unit: By}
- name: standby
  queries:
  - name: replay
    role: standby
    sql: SELECT extract(epoch FROM now() - pg_last_xact_replay_timestamp()) AS lag
    metrics:
    - {name: postgresql.replay.lag, value: lag, unit: s, default: 0}
- name: statements
  queries:
  - name: text
    privileges: [pg_read_all_stats]
    sql: SELECT count(*) AS n FROM pg_stat_activity WHERE query <> ''
    metrics:
    - {name: postgresql.statements, value: n}
"""


def small(text: str = SMALL) -> Pack:
    """The pack."""
    return parse_pack(text, "small.yaml")
