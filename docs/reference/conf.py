"""Sphinx configuration of the reference pages of scoop-core; every warning is an error."""

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

# Each name in backquotes must resolve. Names of scoop_core are on the page; those of Python itself are listed here.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(collections|datetime|enum|typing)\..*|bytes|bool|int|str|tuple|list|float|object|None")
]
# Sphinx looks a NewType up in the module that defines it, but the page shows it in the one that exports it.
nitpick_ignore = [("py:class", "scoop_core.names.PackageName")]
