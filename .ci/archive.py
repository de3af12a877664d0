"""Write a zip or a compressed tar archive whose bytes depend on nothing but the files' names, modes and contents.

usage: archive.py ARCHIVE.zip|ARCHIVE.tar.gz NAME=FILE ...

A FILE may be a folder, which is added with all that is in it. Every entry gets the same time, because Lambda and tar
record it and a build has another one each time. Owners are left out for the same reason.
"""

import gzip
import io
import sys
import tarfile
import zipfile
from pathlib import Path

# The first day that a zip can name. Some readers mind an earlier one in a tar archive too.
DAY = (1980, 1, 1, 0, 0, 0)
DAY_SECONDS = 315532800


def entries(arguments):
    """Yield the name, the mode and the content of each file, by name."""
    found = {}
    for argument in arguments:
        name, _, path = argument.partition("=")
        path = Path(path)
        if path.is_dir():
            found.update({f"{name}/{file.relative_to(path)}": file for file in path.rglob("*") if file.is_file()})
        else:
            found[name] = path
    for name, path in sorted(found.items()):
        yield name, 0o755 if path.stat().st_mode & 0o100 else 0o644, path.read_bytes()


def write_zip(archive, files):
    with zipfile.ZipFile(archive, "w") as out:
        for name, mode, content in files:
            info = zipfile.ZipInfo(name, DAY)
            info.create_system = 3  # Unix, so that the mode counts.
            info.external_attr = (0o100000 | mode) << 16
            out.writestr(info, content, zipfile.ZIP_DEFLATED, 9)


def write_tar(archive, files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as out:
        for name, mode, content in files:
            info = tarfile.TarInfo(name)
            info.mode, info.size, info.mtime = mode, len(content), DAY_SECONDS
            out.addfile(info, io.BytesIO(content))
    with open(archive, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, DAY_SECONDS) as out:
        out.write(packed.getvalue())


def main():
    archive, *arguments = sys.argv[1:]
    write = write_zip if archive.endswith(".zip") else write_tar
    write(archive, entries(arguments))


if __name__ == "__main__":
    main()
