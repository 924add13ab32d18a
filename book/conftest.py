"""`pytest --nbval book` runs the chapters in the environment in which tools/execute.py stored their outputs.

With one thread: two chapters run at a time, on two cores. tests/book/test_worked_examples.py tries two threads.
"""

import os

from tools.execute import KERNEL_ENVIRONMENT

os.environ.update(KERNEL_ENVIRONMENT)
os.environ["OMP_NUM_THREADS"] = "1"
