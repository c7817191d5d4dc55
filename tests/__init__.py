"""Tests, in rooms like those of the project; they run on the installed wheel."""
