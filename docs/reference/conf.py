"""How the reference pages of scoop-core are built from its docstrings; every warning is an error."""

import scoop_core

project = "scoop-core"
author = "The Scoop authors"
project_copyright = "2026, The Scoop authors"
version = release = scoop_core.__version__

extensions = ["sphinx.ext.autodoc"]
html_theme = "alabaster"
html_show_sourcelink = False

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

# Each name in backquotes must be found: first in scoop_core, and what Python itself brings is known here.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(collections|enum|typing)\..*|bytes|bool|int|str|tuple|list|float|object|None")]
# A NewType is known by the module that makes it, and shown under the one that exports it.
nitpick_ignore = [("py:class", "scoop_core.messages.PackageName")]
