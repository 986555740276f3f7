# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Certificate authorities for the real Discord, in an image that has none of its own."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import certifi


def use_bundled_authorities() -> None:
    """Use certifi's bundle, unless the system has authorities or SSL_CERT_FILE, SSL_CERT_DIR name some."""
    paths = ssl.get_default_verify_paths()
    in_folder = paths.capath is not None and any(Path(paths.capath).glob("*.0"))
    if paths.cafile is None and not in_folder and not {"SSL_CERT_FILE", "SSL_CERT_DIR"} & os.environ.keys():
        os.environ["SSL_CERT_FILE"] = certifi.where()
