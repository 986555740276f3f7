# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The reference DCM service: one image, run as gateway, bot, worker, dashboard or discord-fake."""

__version__ = "0.1.0"
