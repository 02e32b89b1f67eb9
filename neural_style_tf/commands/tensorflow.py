"""Starting TensorFlow: late, because it takes seconds, and without its start-up chatter."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
import tempfile
from collections.abc import Iterator

from absl import logging

from vgg.processor import features

# glibc's M_MMAP_THRESHOLD, and the bytes from which on a block is mapped and unmapped on its own.
_MMAP_THRESHOLD, _BLOCK = -3, 4 * 2**20


def start(*, look: bool = True, single: bool = False) -> str:
    """Import TensorFlow, look for devices, and say which one will compute, in words.

    Args:
        look: whether devices are made ready now. Workers that train together have to say so before.
        single: whether each operation keeps to one core of a CPU, since others go on beside it.
    """
    # Read when the library is loaded; whoever set it wants to see what it says.
    quiet = "TF_CPP_MIN_LOG_LEVEL" not in os.environ
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # TensorFlow leaves oneDNN out on CPUs without AVX-512; it is faster there too, most of all for
    # narrow layers.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with _without_chatter() if quiet else contextlib.nullcontext():
        # Keras would import it for plots: a second in six.
        with _hidden("matplotlib"), _uncollected():
            import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if single and not gpus:
            with contextlib.suppress(RuntimeError):  # already at work, in a process of others
                tf.config.threading.set_intra_op_parallelism_threads(1)
        for gpu in gpus:
            # Other programs may want the card too.
            tf.config.experimental.set_memory_growth(gpu, True)
        if gpus:
            # float32 is to mean that: of Gram matrices small differences count, and L-BFGS
            # subtracts what is nearly the same.
            tf.config.experimental.enable_tensor_float_32_execution(False)
        if look:
            tf.config.list_logical_devices()
    if gpus:
        details = tf.config.experimental.get_device_details(gpus[0])
        return f"GPU {details.get('device_name', gpus[0].name)}"
    return f"CPU, {os.cpu_count()} cores"


def cores() -> int:
    """How many cores this process may use."""
    own = getattr(os, "sched_getaffinity", None)  # only some systems have it
    return len(own(0)) if own else os.cpu_count() or 1


def on_gpu() -> bool:
    """Whether a GPU does the work; TensorFlow has been started."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def fastest_precision() -> str:
    """What the device is fastest in: "bfloat16" where it multiplies sooner in it, else "float32".

    TensorFlow has been started. Read off the device, not timed: the same machine is to give the
    same picture every time.
    """
    if on_gpu():
        import tensorflow as tf

        gpu = tf.config.list_physical_devices("GPU")[0]
        capability = tf.config.experimental.get_device_details(gpu).get("compute_capability")
        return "bfloat16" if capability and capability >= (8, 0) else "float32"
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        return "float32"  # only oneDNN has the instructions
    # Without its matrix unit (or with it hidden, as on many virtual machines) Intel's instruction
    # takes twice as long as float32's: 169 against 310 GFLOP/s where it was measured.
    known = features()
    vectors = "avx512_bf16" in known and "GenuineIntel" not in known
    return "bfloat16" if vectors or "amx_bf16" in known else "float32"


def adds_up_in_single() -> bool:
    """Whether products of bfloat16 are added up in float32 here, as losses want it.

    TensorFlow has been started. GPUs do, and oneDNN, which wants AVX-512 for bfloat16; what takes
    its place rounds in between, by some tenths of a percent of a Gram matrix.
    """
    if on_gpu():
        return True
    return os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0" and "avx512f" in features()


def give_back_memory() -> None:
    """Have freed memory given back to the system; to be called before the first tensor is made.

    With oneDNN, TensorFlow takes memory in ever larger regions (its BFC allocator) and keeps them
    all: what one size of a run leaves there in pieces adds to what the next one takes. Blocks of
    the C library's own do not, but their pages are new to the process each time, which costs some
    time.
    """
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # only glibc has it
            # Else the threshold rises to 32 MiB with use, and the heap of each thread keeps pieces.
            ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _BLOCK)


@contextlib.contextmanager
def _hidden(name: str) -> Iterator[None]:
    """As if that package were not installed, for who can do without it."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore
    try:
        yield
    finally:
        del sys.modules[name]


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """For what makes half a million objects that stay: nobody looks for garbage among them.

    Neither meanwhile, again and again, nor later.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if collecting:
            gc.enable()


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Hold back what is written to standard error; show it only if the block fails.

    TensorFlow's C++ side writes there before its own log level is in force.
    """
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # standard error is closed
        yield
        return
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            chatter.seek(0)
            os.write(2, chatter.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            chatter.seek(0)
            logging.debug("%s", chatter.read().decode(errors="replace"))
