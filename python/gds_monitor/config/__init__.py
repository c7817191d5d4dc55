"""``monitor.yaml``: what is watched, and where it goes."""
