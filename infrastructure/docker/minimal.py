"""Copies into a folder what the image needs of its base: Python, shared libraries, certificates, pg_dump.

    python3 minimal.py ROOT ORIGINS

Run in the build. No shell and no package manager come along. ORIGINS gets the files that were taken, for sbom.py.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

VENV = Path("/opt/nexus")
TOOLS = ("pg_dump", "pg_restore")  # for `nexus db backup` and `restore`; no older than the server
FILES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/openssl.cnf", "/etc/ld.so.conf", "/etc/ld.so.conf.d/libc.conf")
# Of the standard library; the rest costs more than it is worth.
UNUSED = (
    "test",
    "idlelib",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "lib2to3",
    "pydoc_data",
    "config-*",
    "*.a",
    "dist-packages",
)
ELF = b"\x7fELF"


def main(root: Path, origins: Path) -> None:
    taken: set[Path] = set()
    for name in ("lib", "lib64"):
        if Path("/", name).is_symlink():
            (root / name).symlink_to(Path("/", name).readlink())
    shutil.copytree(VENV, root / VENV.relative_to("/"), symlinks=True)
    for program in _links(VENV / "bin/python"):
        _take(program, root, taken)
    stdlib = Path(sysconfig.get_path("stdlib"))
    ignored = shutil.ignore_patterns("site-packages", "__pycache__", *UNUSED)
    shutil.copytree(stdlib, root / stdlib.relative_to("/"), ignore=ignored, symlinks=True)
    taken.add(stdlib / "os.py")
    for tool in TOOLS:
        [found] = Path("/usr/lib/postgresql").glob(f"*/bin/{tool}")
        shutil.copy2(found, _folder(root, Path("/usr/bin")) / tool)
        taken.add(found)
    for file in FILES:
        if Path(file).exists():
            _take(Path(file), root, taken)
    for library in _libraries([VENV, stdlib, *taken]):
        _take(library, root, taken)
    subprocess.run(["ldconfig", "-r", str(root)], check=True)
    origins.write_text("".join(f"{file}\n" for file in sorted(taken)))


def _links(link: Path) -> list[Path]:
    """A program outside the environment, with the links that lead to it."""
    found = []
    while link.is_symlink():
        link = Path(os.path.normpath(link.parent / link.readlink()))
        if VENV not in link.parents:
            found.append(link)
    return found


def _libraries(places: list[Path]) -> set[Path]:
    """All shared libraries of the base that what lies there needs, with the loader."""
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place])]
    found = set()
    for file in files:
        if file.is_file() and not file.is_symlink() and file.open("rb").read(4) == ELF:
            needs = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=False).stdout
            assert "not found" not in needs, f"{file}: {needs}"
            found |= {Path(path) for path in re.findall(r"(?:=> |^\s+)(/\S+)", needs, re.MULTILINE)}
    return {library for library in found if VENV not in library.parents}


def _take(file: Path, root: Path, taken: set[Path]) -> None:
    """Copies to the same place; a link stays one, but to a library: that is copied under its own name."""
    link = file.is_symlink() and ".so" not in file.name
    shutil.copy2(file, _folder(root, file.parent) / file.name, follow_symlinks=not link)
    taken.add(file)


def _folder(root: Path, folder: Path) -> Path:
    made = root / folder.resolve().relative_to("/")
    made.mkdir(parents=True, exist_ok=True)
    return made


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
