"""``gds query``: PromQL of a store in a folder or of a server, in a terminal."""
