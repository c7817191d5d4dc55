"""``python -m gds_cli`` is ``gds``."""

from gds_cli import main

main()
