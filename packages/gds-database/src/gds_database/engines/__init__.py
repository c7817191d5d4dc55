"""Engines by platform: ``gds_database.engines.postgresql`` and so on. Each needs the extra of its name."""
