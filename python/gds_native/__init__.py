"""Private: the compiled core (``gds_native._lib``) of the packages installed beside it.

Import ``gds_metrics`` instead. Names in here change without notice.
"""

import sys


def _refuse_sub_interpreters() -> None:
    # The compiled module keeps state for the process. Asked here, because a first import of it from a sub-interpreter
    # would tie it to that one and keep the main interpreter out.
    try:
        if sys.version_info >= (3, 13):
            import _interpreters as interpreters
        else:
            import _xxsubinterpreters as interpreters  # type: ignore[import-not-found]
    except ImportError:
        return
    if interpreters.get_current() != interpreters.get_main():
        raise ImportError(
            "gds_native: expected the main interpreter, got a sub-interpreter, which it does not support; "
            "import it in the main interpreter (with mod_wsgi: WSGIApplicationGroup %{GLOBAL})"
        )


_refuse_sub_interpreters()
