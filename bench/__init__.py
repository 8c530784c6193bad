"""How fast a package index server is, and what that costs: ``python -m bench --help``.

A load generator on one processor drives servers on another, one server at a time, round after round in
alternation, so that a machine whose speed drifts treats all of them alike. Beside Scoop stand a *floor*, which
does what no Python server can leave out and nothing else, and Redis, where it is installed, with the same rules
as a function in Lua.

The generator is Python as well, and at one message at a time it can be slower than the server. So the figure
that counts is the processor time that the server spends on a message, which no generator can blur; answers a
second stand beside it, with a mark where the generator was what held them down.
"""
