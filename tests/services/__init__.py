"""Real servers for the tests: installed once into a cache folder, started on free ports.

``catalog`` says what each service is, ``install`` obtains it without root, ``run`` starts it and
talks to it, ``fixtures`` hands it to pytest. Nothing is installed or started by importing.

    python -m tests.services list
    python -m tests.services install
"""
