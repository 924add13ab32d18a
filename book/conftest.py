"""`pytest --nbval book` runs the chapters in the environment in which tools/execute.py stored their outputs."""

import os

from tools.execute import KERNEL_ENVIRONMENT

os.environ.update(KERNEL_ENVIRONMENT)
