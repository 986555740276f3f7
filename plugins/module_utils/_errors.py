# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one exception that pure code raises; modules turn it into ``fail_json``, action plugins into ``AnsibleActionFail``."""

from __future__ import annotations


class PlatformError(Exception):
    """Something the operator has to know: what is wrong, where, and what to do about it."""
