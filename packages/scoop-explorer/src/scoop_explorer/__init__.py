"""A read-only web application that follows a package index and answers the questions of people about it.

Modules in processing order: :mod:`~scoop_explorer.sources` reads an index, :mod:`~scoop_explorer.live_index` keeps it
up to date in memory, :mod:`~scoop_explorer.questions` asks the graph, :mod:`~scoop_explorer.deferred` runs the
expensive questions, and :mod:`~scoop_explorer.application` serves the answers as pages and as JSON.
"""

__version__ = "0.1.0"
