"""``python -m bench`` runs the benchmark."""

import sys

from bench.command_line import main

sys.exit(main())
