"""The keeper: starts, waits for and records a runner's processes, and outlives the runner.

It runs by path, isolated and without site-packages, so every module here imports the standard library
and `cronq.runner.journal` only, and imports all of it at start: an upgrade may replace these files under
a keeper that lives on for days.
"""
