# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs the module guild_move and shows its progress, as for guild_schema."""

from __future__ import annotations

from ansible_collections.dcm.platform.plugins.action.guild_schema import ActionModule

__all__ = ["ActionModule"]
