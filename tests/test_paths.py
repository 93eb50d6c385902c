"""The one way in which the package writes a file."""

import os

from vit_teach import paths


def test_a_file_can_be_read_by_whom_the_mask_allows(tmp_path):
    before = os.umask(0o022)
    try:
        with paths.written_whole(tmp_path / "weights") as temporary:
            temporary.write_bytes(b"x")
            temporary.chmod(0o600)  # as the writer of safetensors does
        assert (tmp_path / "weights").stat().st_mode & 0o777 == 0o644
        os.umask(0o077)
        with paths.written_whole(tmp_path / "private") as temporary:
            temporary.write_bytes(b"x")
        assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)
