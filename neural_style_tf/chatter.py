"""What TensorFlow and its converters print meanwhile."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Without what converters write to standard output and standard error, unless they fail."""
    with tempfile.TemporaryFile() as chatter:
        kept = [os.dup(stream) for stream in (1, 2)]
        for stream in (1, 2):
            os.dup2(chatter.fileno(), stream)
        try:
            yield
        except OSError:
            raise  # a disk that refuses, of which whoever catches it has a line to tell
        except BaseException:
            os.dup2(kept[1], 2)
            chatter.seek(0)
            os.write(2, chatter.read())
            raise
        finally:
            for stream, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, stream)
                os.close(copy)
