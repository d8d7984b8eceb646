"""Start one of the model's programs: the first argument is its name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.model.programs import main

sys.exit(main(sys.argv[1:]))
