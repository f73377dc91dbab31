"""`python -m comfyui_wegen.models` is the command `wegen`."""

import sys

from .cli import main

sys.exit(main())
