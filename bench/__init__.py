"""The benchmark of package index servers: ``python -m bench --help``.

A load generator on one processor loads servers on another, one server at a time, in alternating rounds, so that a
machine of varying speed treats all of them alike. Scoop is compared with a lower bound (``floor``), which does only
what every server in Python must do, and with Redis, if installed, with the same rules as a function in Lua.

The generator is in Python too, and can be slower than the server at one message at a time. So the main figure is the
processor time of the server per message, which the generator does not affect. Responses per second are marked where the
generator limited them.
"""
