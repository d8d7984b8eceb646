"""Start one of the model's programs: the first argument is its name."""

import os
import sys

sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3)))

from tests.model.programs import main

sys.exit(main(sys.argv[1:]))
