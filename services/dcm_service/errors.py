# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Errors that are meant to be read by an operator."""

from __future__ import annotations


class ServiceError(Exception):
    """Says what is wrong, where, and what to do; ends the process with status 1 and without a stack trace."""


class ConfigError(ServiceError):
    """A setting or a secret file is missing or wrong."""
