"""Readers of the forms that other monitors have; all of them give the same model."""
