"""Definitions either load or say where they are wrong and what was expected."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gds_monitor.packs import PackError, dump, load_pack, parse_pack
from gds_monitor.packs.model import VersionRange

SMALL = """\
pack: mine
engine: postgresql
collectors:
  - name: sessions
    queries:
      - name: all
        sql: SELECT count(*) AS n FROM pg_stat_activity
        metrics:
          - name: mine.sessions
            value: n
"""


def refused(text: str) -> PackError:
    with pytest.raises(PackError) as caught:
        parse_pack(text, "mine.yaml")
    return caught.value


def loads_or_is_refused(text: str) -> None:
    error = None
    try:
        parse_pack(text, "any.yaml")
    except PackError as caught:
        error = caught
    if error is not None:
        assert min(error.line, error.column) >= 1
        assert str(error).startswith(f"any.yaml:{error.line}:{error.column}: ")


def test_a_pack_loads() -> None:
    pack = parse_pack(SMALL, "mine.yaml")
    assert [each.name for each in pack.collectors] == ["sessions"]
    assert pack.collectors[0].queries[0].metrics[0].name == "mine.sessions"


def test_an_unknown_key_is_refused_where_it_stands_with_the_nearest_known_one() -> None:
    error = refused(SMALL.replace("            value: n", "            valeu: n"))
    assert str(error).startswith(
        "mine.yaml:10:13: collectors[0].queries[0].metrics[0].valeu: unknown key; did you mean 'value'? expected one of"
    )
    assert (error.line, error.column) == (10, 13)


@pytest.mark.parametrize(
    ("old", "new", "place", "said"),
    [
        ("engine: postgresql", "engine: postgres", "2:9", "did you mean 'postgresql'?"),
        ("value: n", "value: 7", "10:20", "expected string, got 7"),
        ("    queries:", "    max_rows: 0\n    queries:", "5:15", "expected a number from 1, got 0"),
        ("        sql:", "        sequel:", "7:9", "did you mean 'sql'?"),
        ("        sql:", "        versions: fourteen\n        sql:", "7:19", "expected versions like '>=14 <17'"),
        ("value: n", "value: n\n            type: count", "11:19", "did you mean 'counter'?"),
        (
            "        metrics:",
            "        view: pg_stat_io\n        metrics:",
            "8:15",
            "expected {columns} in the statement",
        ),
        ("value: n", "value: n\n            buckets: [2, 1]", "11:26", "expected a bound above 2, got 1"),
        ("pack: mine", "pack: mine\npack: yours", "2:1", "the key 'pack' stands here twice"),
        ("pack: mine", "pack: !!python/name:os.system mine", "1:7", "expected plain YAML"),
        ("pack: mine", "pack: [mine]]", "1:13", "no YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_what_was_expected(old: str, new: str, place: str, said: str) -> None:
    text = str(refused(SMALL.replace(old, new, 1)))
    assert text.startswith(f"mine.yaml:{place}: ")
    assert said in text


def test_a_missing_key_is_named() -> None:
    assert "expected the key 'engine' (The kind of database), got none" in str(
        refused(SMALL.replace("engine: postgresql\n", ""))
    )


def test_two_collectors_of_one_name_are_refused() -> None:
    twice = SMALL + SMALL[SMALL.index("  - name: sessions") :]
    assert str(refused(twice)).startswith("mine.yaml:11:11: collectors[1].name: 'sessions' is the name of another")


def test_a_file_that_is_no_utf8_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"pack: mine\nengine: \xff\n")
    with pytest.raises(PackError, match=r"mine\.yaml:2:9: expected UTF-8"):
        load_pack(path)


def test_aliases_that_grow_without_end_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "expected at most" in str(refused("\n".join(lines)))


def test_a_value_that_holds_itself_is_refused() -> None:
    assert "expected no value that holds itself" in str(refused("pack: &a [*a]\n"))


def test_merged_keys_are_those_of_the_mapping() -> None:
    text = SMALL.replace("    queries:", "    <<: &common {interval_seconds: 60}\n    queries:")
    assert parse_pack(text, "mine.yaml").collectors[0].interval_seconds == 60


@given(st.text())
def test_any_text_loads_or_is_refused_with_its_place(text: str) -> None:
    loads_or_is_refused(text)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(sorted(Path(__file__).parents[3].glob("python/gds_monitor/packs/schemas/*.json"))).flatmap(
    lambda path: st.sampled_from(sorted(_names(json.loads(path.read_text("utf-8")))))
)


def _names(schema: object) -> set[str]:
    if isinstance(schema, list):
        return set().union(*map(_names, schema))
    if not isinstance(schema, dict):
        return set()
    return set(schema.get("properties", ())).union(*map(_names, schema.values()))


shaped = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


@given(shaped)
def test_any_yaml_of_known_words_loads_or_is_refused_with_its_place(data: object) -> None:
    loads_or_is_refused(yaml.safe_dump(data))


@given(st.data())
def test_a_pack_with_one_value_changed_loads_or_is_refused_with_its_place(data: st.DataObject) -> None:
    tree = yaml.safe_load(SMALL)
    holder = data.draw(st.sampled_from([tree, tree["collectors"][0], tree["collectors"][0]["queries"][0]]))
    holder[data.draw(KEYS)] = data.draw(plain)
    loads_or_is_refused(yaml.safe_dump(tree))


def test_a_pack_is_the_same_after_it_was_written_and_read() -> None:
    pack = parse_pack(SMALL, "mine.yaml")
    assert parse_pack(dump(pack), "mine.yaml") == pack


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (">=14 <17", [(14,), (16, 9)], [(13, 22), (17,)]),
        (">= 9.6, < 11", [(9, 6), (10, 1)], [(9, 5), (11, 0)]),
        ("<10 || >=16", [(9, 6), (17, 1)], [(10,), (15,)]),
        (">14.0 !=15.2", [(14, 1), (15, 3)], [(14, 0), (15, 2)]),
        ("", [(1,), (99,)], []),
    ],
)
def test_versions_are_in_a_range_or_not(
    text: str, inside: list[tuple[int, ...]], outside: list[tuple[int, ...]]
) -> None:
    versions = VersionRange(text)
    assert [each in versions for each in inside] == [True] * len(inside)
    assert [each in versions for each in outside] == [False] * len(outside)
