"""The folder of compiled loops: what is stored is read again, and only what nobody else can have written."""

import os
import stat
import sys

import pytest
from conftest import within

from arrayinit.engines.cpu import cache, warnings_once

NAME, CODE = "loops-1-2.o", b"code" * 100
needs_modes = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs the modes of POSIX")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(warnings_once, "_warned", set())
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "loops"))
    return tmp_path / "loops"


@pytest.fixture
def stored(folder):
    """The file of one entry."""
    cache.write(NAME, CODE)
    assert cache.read(NAME) == CODE
    return folder / NAME


def test_an_entry_is_stored_and_found(folder):
    assert cache.read(NAME) is None
    assert not cache.holds("loops-1-")
    cache.write(NAME, CODE)
    assert cache.read(NAME) == CODE
    assert cache.holds("loops-1-")
    assert not cache.holds("loops-2-")
    cache.write(NAME, CODE * 2)
    assert cache.read(NAME) == CODE * 2
    assert os.listdir(folder) == [NAME]


@needs_modes
def test_nobody_else_can_write_to_what_is_stored(folder):
    before = os.umask(0)
    try:
        cache.write(NAME, CODE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert stat.S_IMODE((folder / NAME).stat().st_mode) == 0o644
    assert cache.read(NAME) == CODE


def test_a_file_that_was_cut_changed_or_renamed_is_not_used(stored, folder):
    data = stored.read_bytes()
    for broken in (data[:-1], data[:20], b"", data[:50] + b"x" + data[51:]):
        stored.write_bytes(broken)
        assert cache.read(NAME) is None
    stored.write_bytes(data)
    stored.rename(folder / "loops-1-3.o")
    assert cache.read("loops-1-3.o") is None


def test_a_file_that_is_too_large_is_not_read(stored):
    with stored.open("r+b") as file:
        file.truncate(1 << 40)
    assert cache.read(NAME) is None


@needs_modes
@pytest.mark.parametrize("mode", [0o646, 0o664, 0o666, 0o777])
def test_a_file_that_others_can_write_to_is_not_used(stored, mode):
    stored.chmod(mode)
    assert cache.read(NAME) is None
    cache.write(NAME, CODE)
    assert cache.read(NAME) == CODE


def give_away(path, monkeypatch):
    """Make a file or folder one of another user than the test's, who is not root either."""
    if os.geteuid() == 0:
        os.chown(path, 54321, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 54321)


@needs_modes
@pytest.mark.parametrize("which", ["file", "folder"])
def test_what_belongs_to_another_user_is_not_used(stored, folder, which, monkeypatch):
    give_away({"file": stored, "folder": folder}[which], monkeypatch)
    assert cache.read(NAME) is None


@needs_modes
@pytest.mark.parametrize("mode", [0o757, 0o777, 0o1777])
def test_a_folder_that_others_can_write_to_is_not_used(stored, folder, mode):
    folder.chmod(mode)
    assert cache.read(NAME) is None
    stored.unlink()
    with pytest.warns(RuntimeWarning, match=f"could not store .*loops: others can write to it .mode {mode:o}"):
        cache.write(NAME, CODE)
    cache.write(NAME, CODE)  # a second warning would be an error
    assert os.listdir(folder) == []


@needs_modes
def test_a_link_is_not_followed(stored, folder):
    stored.rename(folder / "other")
    stored.symlink_to(folder / "other")
    assert cache.read(NAME) is None
    cache.write(NAME, CODE)
    assert cache.read(NAME) == CODE
    assert not stored.is_symlink()


@needs_modes
def test_a_link_to_the_folder_is_followed(stored, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(stored.parent)
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "link"))
    assert cache.read(NAME) == CODE


@needs_modes
def test_a_pipe_is_not_waited_for(folder):
    folder.mkdir()
    os.mkfifo(folder / NAME)
    assert within(60, lambda: cache.read(NAME)) is None
    cache.write(NAME, CODE)
    assert cache.read(NAME) == CODE


def test_a_folder_in_the_place_of_a_file(folder):
    (folder / NAME).mkdir(parents=True)
    assert cache.read(NAME) is None
    with pytest.warns(RuntimeWarning, match="could not store its compiled loops"):
        cache.write(NAME, CODE)
    assert os.listdir(folder) == [NAME]  # and no temporary file


def test_an_interrupted_write_leaves_nothing(folder, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cache.write(NAME, CODE)
    assert os.listdir(folder) == []


@pytest.mark.parametrize("place", ["file", "file/below", "x" * 5000])
def test_a_folder_that_cannot_be_had(tmp_path, monkeypatch, folder, place):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / place))
    assert not cache.holds("loops-")
    assert cache.read(NAME) is None
    with pytest.warns(RuntimeWarning, match="could not store its compiled loops .*set ARRAYINIT_CACHE_DIR"):
        cache.write(NAME, CODE)
    cache.write(NAME, CODE)


@pytest.fixture
def homeless(monkeypatch):
    """A user id that is not in the list of users, without HOME."""
    pwd = pytest.importorskip("pwd")

    def unknown(*arguments):
        raise KeyError

    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", cache.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(pwd, "getpwnam", unknown)
    monkeypatch.setattr(warnings_once, "_warned", set())


def test_a_user_without_a_home_has_no_cache(homeless):
    assert [path.name for path in cache._directories()] == ["__pycache__"]


def test_a_folder_below_an_unknown_home_is_ignored_with_one_warning(homeless, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, "~/loops")
    with pytest.warns(RuntimeWarning, match="`ARRAYINIT_CACHE_DIR` must be .*; got '~/loops'"):
        assert [path.name for path in cache._directories()] == ["__pycache__"]
    assert [path.name for path in cache._directories()] == ["__pycache__"]


@pytest.mark.skipif(sys.platform == "win32", reason="homes of POSIX")
def test_where_loops_are_stored(monkeypatch, homeless):
    def places():
        return [str(path) for path in cache._directories()[1:]]

    monkeypatch.setenv("HOME", "/home/of/a/user")
    assert places() == ["/home/of/a/user/.cache/arrayinit"]
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert places() == ["/home/of/a/user/.cache/arrayinit"]
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert places() == ["/caches/arrayinit"]
    monkeypatch.setenv(cache.VARIABLE, "~/loops")
    assert [str(path) for path in cache._directories()] == ["/home/of/a/user/loops"]
