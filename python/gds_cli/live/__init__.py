"""The live view of `gds top` and `gds demo`: sources feed a model, of which snapshots are shown."""
