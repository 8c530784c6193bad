"""The packages of Debian, Homebrew, Python, npm and Cargo as a graph, and the names that they have there.

Each import reads one path or several, and returns an :class:`Imported`. It has a package for each one of the input, and
every dependency that can be satisfied there; the others are in ``left_out``, with the reason. :func:`read_graph` reads
what is a graph already, such as the data directory of a server that runs. Both raise
:exc:`~scoop_client.InvalidInput`. Everything public is exported here; the modules are private.
"""

from scoop_client.ecosystems.cargo import import_cargo
from scoop_client.ecosystems.debian import import_debian
from scoop_client.ecosystems.homebrew import import_homebrew
from scoop_client.ecosystems.imported import Imported, LeftOut, Paths, decode_name, encode_name
from scoop_client.ecosystems.npm import import_npm
from scoop_client.ecosystems.python import import_python
from scoop_client.inputs import read_graph

__all__ = [
    "Imported",
    "LeftOut",
    "Paths",
    "decode_name",
    "encode_name",
    "import_cargo",
    "import_debian",
    "import_homebrew",
    "import_npm",
    "import_python",
    "read_graph",
]
