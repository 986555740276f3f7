# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Entry point of `python3 -m dcm_service`."""

import sys

from dcm_service.cli import main

sys.exit(main())
