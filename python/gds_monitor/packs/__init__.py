"""Packs: what is measured of a database is data.

pack = load_pack("mine.yaml")  # ours, sql_exporter's, postgres_exporter's or pgwatch's
todo = plan(pack, postgresql_facts(run))
for planned in todo.queries:
    outcome = run_query(planned, run, Target(instance_id="db1", database_type=pack.engine))
"""

from gds_monitor.packs.document import PackError
from gds_monitor.packs.execute import Outcome, TextEvent, run_query
from gds_monitor.packs.facts import mongodb_facts, postgresql_facts, snowflake_facts, sql_server_facts
from gds_monitor.packs.load import load_pack, parse_pack, shipped_pack
from gds_monitor.packs.model import Collector, MetricDefinition, Pack, Query
from gds_monitor.packs.native import dump
from gds_monitor.packs.plan import CollectionPlan, ServerFacts, plan
from gds_monitor.packs.rows import Target, to_metrics

__all__ = [
    "CollectionPlan",
    "Collector",
    "MetricDefinition",
    "Outcome",
    "Pack",
    "PackError",
    "Query",
    "ServerFacts",
    "Target",
    "TextEvent",
    "dump",
    "load_pack",
    "mongodb_facts",
    "parse_pack",
    "plan",
    "postgresql_facts",
    "run_query",
    "shipped_pack",
    "snowflake_facts",
    "sql_server_facts",
    "to_metrics",
]
