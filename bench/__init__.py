"""Times this package beside its peers: ``python -m bench``.

Each benchmark first asserts that both sides give the right answer, then times them in turns, round after round, in a
process of its own. A figure is the median of its rounds, a ratio the median of the rounds' ratios, so that a busy
machine moves both sides and hardly the ratio. It measures and does not judge: a missed bar is marked, not an error.
"""
