"""``python -m scoop_server`` is ``scoop-server``."""

import sys

from scoop_server.command_line import main

sys.exit(main())
