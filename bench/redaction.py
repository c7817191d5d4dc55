"""How many secrets redaction finds, how much innocent text it changes, and what it costs."""

from __future__ import annotations

import re

from bench.harness import AT_LEAST, AT_MOST, Bar, Call, Effort, Row, compare, expect, row
from gds_kafka._encoder import LogEncoder
from tests.kafka.corpus import INNOCENT, SECRETS

__all__ = ["redaction"]

_MARK = "[REDACTED]"
_LONGEST_LEFT = 4
_PEER = "12 regular expressions"

# What programs redact their logs with: names with values, URLs, headers, and the tokens that are known best.
_EXPRESSIONS = [
    re.compile(
        r"""(?i)((?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key)["']?\s*[:=]\s*["']?)[^\s"',;&]+"""
    ),
    re.compile(r"(?i)(://[^\s:/@]*:)[^\s@]+(?=@)"),
    re.compile(r"(?i)(authorization:\s*\w+\s+)\S+"),
    re.compile(r"(?i)(bearer\s+)[\w.~+/-]{8,}=*"),
    re.compile(r"(?i)(cookie:\s*).+"),
    re.compile(r"()\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    re.compile(r"()\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}"),
    re.compile(r"()\bxox[abeprs]-[\w-]{10,}"),
    re.compile(r"()\b(?:sk|rk)_(?:live|test)_\w{16,}"),
    re.compile(r"()\bhv[sbr]\.[\w-]{12,}"),
    re.compile(r"()\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*"),
    re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)[\s\S]+?(?=-----END|$)"),
]

_LINES = [
    "GET /api/v1/orders/4711?page=2 from 10.1.2.3 took 12.5 ms, status 200, 5120 bytes, worker 7 of db-01 ok.",
    "token bucket refilled: 100 of 100; password reset page was shown, cache_key=user:17:profile hit",
    "could not connect to postgresql://app:hunter2@db-1/orders, retrying in 2 s",
    "2026-01-01T00:00:00Z INFO consumer group gds-alerting-cpu rebalanced in 12 ms, 3 partitions assigned",
]


def _with_expressions(text: str) -> str:
    for expression in _EXPRESSIONS:
        text = expression.sub(rf"\1{_MARK}", text)
    return text


def _is_found(line: str, redacted: str) -> bool:
    secrets = re.findall(r"«(.*?)»", line, re.DOTALL)
    pieces = (
        secret[at : at + _LONGEST_LEFT + 1] for secret in secrets for at in range(max(1, len(secret) - _LONGEST_LEFT))
    )
    return not any(piece in redacted for piece in pieces if piece.strip())


def _share(results: list[bool]) -> float:
    return 100 * sum(results) / len(results)


def redaction(effort: Effort) -> list[Row]:
    """Recall and false alarms by family of `tests/kafka/corpus`, and the time for a text of 1 KB."""
    redact = LogEncoder().redact
    rows = []
    for families, name, bar in (
        (SECRETS, "secrets found", Bar(AT_LEAST, 99)),
        (INNOCENT, "innocent lines changed", Bar(AT_MOST, 1)),
    ):
        ours: dict[str, list[bool]] = {}
        peers: dict[str, list[bool]] = {}
        for family, lines in families.items():
            texts = [re.sub("[«»]", "", line) for line in lines]
            for results, by in ((ours, redact), (peers, _with_expressions)):
                results[family] = [
                    _is_found(line, by(text)) if families is SECRETS else by(text) != text
                    for line, text in zip(lines, texts, strict=True)
                ]
        ours["all"], peers["all"] = (
            [result for family in results.values() for result in family] for results in (ours, peers)
        )
        rows += [
            Row(
                name=f"redaction, {name}: {family}",
                ours=_share(ours[family]),
                peer=_share(peers[family]),
                unit="%",
                against=_PEER,
                bar=bar if family == "all" else None,
            )
            for family in ours
        ]
    text = "\n".join(_LINES * 3)[:1024]
    expect("secrets left", "hunter2" in redact(text) or "hunter2" in _with_expressions(text), False)
    rounds = compare(
        Call("redact(text)", redact=redact, text=text), Call("by(text)", by=_with_expressions, text=text), effort
    )
    rows.append(row("redaction, a text of 1 KB", rounds, unit="ns", against=_PEER, bar=Bar(AT_LEAST, 5)))
    return rows
