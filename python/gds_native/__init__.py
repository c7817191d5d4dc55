"""Private: the compiled core (``gds_native._lib``) of the packages installed beside it.

Import ``gds_metrics`` instead. Names in here change without notice.
"""
