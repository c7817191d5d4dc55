"""``gds store``: what is in a store, whether it is whole, and its way in and out."""
