"""``python -m bench.replication`` runs the benchmark of replication."""

import sys

from bench.replication.command_line import main

sys.exit(main())
