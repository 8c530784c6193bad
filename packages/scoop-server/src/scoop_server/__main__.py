"""``python -m scoop_server`` is ``scoop-server``."""

import sys

from scoop_server.cli.main import main

sys.exit(main())
