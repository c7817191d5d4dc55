"""Every fuzz target that a crate names has its program for libFuzzer, and no other has."""

from __future__ import annotations

import re
import sys

from tests.project.documents import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAMED = re.compile(r'Target \{ name: "(\w+)"')


def test_every_fuzz_target_has_its_program() -> None:
    named = {
        name: path.parents[1].name
        for path in ROOT.glob("crates/*/src/fuzz.rs")
        for name in NAMED.findall(path.read_text("utf-8"))
    }
    assert len(named) > 10
    folder = ROOT / "fuzz" / "fuzz_targets"
    calls = {
        path.stem: re.findall(r"(gds_\w+)::fuzz::(\w+)\(", path.read_text("utf-8")) for path in folder.glob("*.rs")
    }
    assert calls == {name: [(crate.replace("-", "_"), name)] for name, crate in named.items()}
    programs = {
        each["name"]: each["path"] for each in tomllib.loads((ROOT / "fuzz" / "Cargo.toml").read_text("utf-8"))["bin"]
    }
    assert programs.pop("seeds") == "seeds.rs"
    assert programs == {name: f"fuzz_targets/{name}.rs" for name in named}
