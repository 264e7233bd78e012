"""Random files and random changes to them: what agents do to a tree, and what they should not."""

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

FILE, PROGRAM, LINK = b"100644", b"100755", b"120000"
_FOLDERS = ("", "a", "a/b", "a/b/c", "d", "d/e", "f")
_ATTRIBUTES = (
    b"*.u merge=union\n",
    b"*.b binary\n",
    b"a/** -merge\n",
    b"*.t conflict-marker-size=9\n",
)

Files = dict[str, tuple[bytes, bytes]]


def first_files(random: Random) -> Files:
    """Return files to begin with."""
    files: Files = {".gitattributes": (FILE, random.choice(_ATTRIBUTES))}
    for number in range(40):
        path = _in(random.choice(_FOLDERS), f"f{number}.{random.choice('tub')}")
        files[path] = (FILE, _text(random, f"file {number}"))
    return files


def change(files: Files, random: Random) -> None:
    """Change a few things."""
    for _ in range(random.choice((1, 1, 2, 4))):
        random.choice(_CHANGES)(files, random)
    _tidy(files)


def write_files(folder: Path, files: Files) -> None:
    """Let a worktree have exactly these files."""
    for path in folder.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name, (mode, text) in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if mode == LINK:
            path.symlink_to(text.decode())
        else:
            path.write_bytes(text)
            path.chmod(0o755 if mode == PROGRAM else 0o644)


def _text(random: Random, name: str) -> bytes:
    lines = [
        f"{name} line {number} {random.randrange(3)}" for number in range(random.randint(3, 12))
    ]
    return "\n".join([*lines, ""]).encode()


def _in(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _edit(files: Files, random: Random) -> None:
    path = _some(files, random)
    mode, text = files[path]
    lines = text.split(b"\n")
    lines[random.randrange(len(lines))] = f"edited {random.randrange(1_000)}".encode()
    files[path] = (mode, b"\n".join(lines)) if mode != LINK else (LINK, b"elsewhere")


def _add(files: Files, random: Random) -> None:
    path = _in(random.choice(_FOLDERS), f"new{random.randrange(6)}.{random.choice('tub')}")
    files[path] = (FILE, _text(random, "new"))


def _delete(files: Files, random: Random) -> None:
    if len(files) > 4:
        del files[_some(files, random)]


def _rename(files: Files, random: Random) -> None:
    path = _some(files, random)
    name = random.choice([path.rpartition("/")[2], f"renamed{random.randrange(4)}.t"])
    content = files.pop(path)
    files[_in(random.choice([*_FOLDERS, "g"]), name)] = content


def _rename_folder(files: Files, random: Random) -> None:
    old, new = random.choice(_FOLDERS[1:]), random.choice([*_FOLDERS[1:], "g", "h"])
    for path in _below(files, old):
        files[f"{new}{path.removeprefix(old)}"] = files.pop(path)


def _split_folder(files: Files, random: Random) -> None:
    """Move what is in a folder into two others: git cannot tell where it went."""
    for number, path in enumerate(_below(files, random.choice(_FOLDERS[1:]))):
        files[_in("gh"[number % 2], path.rpartition("/")[2])] = files.pop(path)


def _delete_folder(files: Files, random: Random) -> None:
    for path in _below(files, random.choice(_FOLDERS[1:])):
        if len(files) > 4:
            del files[path]


def _change_mode(files: Files, random: Random) -> None:
    path = _some(files, random)
    mode, text = files[path]
    if mode != LINK:
        files[path] = (PROGRAM if mode == FILE else FILE, text)


def _make_link(files: Files, random: Random) -> None:
    files[_some(files, random)] = (LINK, f"target{random.randrange(2)}".encode())


def _file_for_folder(files: Files, random: Random) -> None:
    folder = random.choice(_FOLDERS[1:])
    for path in _below(files, folder):
        del files[path]
    files[folder] = (FILE, _text(random, "was a folder"))


def _folder_for_file(files: Files, random: Random) -> None:
    path = _some(files, random)
    mode, text = files.pop(path)
    files[f"{path}/inside.t"] = (mode, text)


def _change_attributes(files: Files, random: Random) -> None:
    files[".gitattributes"] = (FILE, random.choice(_ATTRIBUTES))


def _odd_name(files: Files, random: Random) -> None:
    files[_in(random.choice(_FOLDERS), random.choice(["ünï cödé.t", "-dash.t", "a b.t"]))] = (
        FILE,
        _text(random, "odd"),
    )


def _binary(files: Files, random: Random) -> None:
    files[_some(files, random)] = (FILE, b"\0" + bytes(random.randrange(256) for _ in range(40)))


_CHANGES: list[Callable[[Files, Random], None]] = [
    *[_edit] * 5,
    *[_add] * 2,
    _delete,
    *[_rename] * 2,
    *[_rename_folder] * 2,
    _split_folder,
    _delete_folder,
    _change_mode,
    _make_link,
    _file_for_folder,
    _folder_for_file,
    _change_attributes,
    _odd_name,
    _binary,
]


def _some(files: Files, random: Random) -> str:
    return random.choice(sorted(set(files) - {".gitattributes"}) or sorted(files))


def _below(files: Files, folder: str) -> list[str]:
    return [path for path in list(files) if path.startswith(f"{folder}/")]


def _tidy(files: Files) -> None:
    """Drop what cannot be there at once: of a file and a folder of one name the file goes."""
    for path in list(files):
        if _below(files, path):
            del files[path]
