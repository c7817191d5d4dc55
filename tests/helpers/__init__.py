"""Small things that several test files need."""
