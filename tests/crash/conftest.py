"""The matrix's modules are reached by their bare names, as they are where `matrix.py` is run as a program."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
