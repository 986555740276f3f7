# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A Discord for development and tests: enough of REST v10 and of the gateway that an unchanged discord.py works with it."""
