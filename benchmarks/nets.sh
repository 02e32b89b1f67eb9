#!/usr/bin/env bash
# Train the network that comes with the program, on two cores in an hour or two (in bfloat16):
#
#     benchmarks/nets.sh PHOTOS STARRY_NIGHT WAVE COMPOSITION_VII OUTPUT.npz [none]
#
# PHOTOS is a folder of photographs, the others are the paintings. It goes on from the network that
# comes with the program; with `none`, from random weights. Small crops first, which cost a quarter
# and teach most of it, then larger ones; the weights are rounded to float16 at the end. When
# interrupted, the same command goes on.
set -euo pipefail
photos=$1 output=$5 first=(--steps 3000)
[[ ${6:-} != none ]] || first=(--steps 8000 --initial none)
styles=(--styles "$2" "$3" "$4" --names starry wave composition --style-width 384)
work=${output%.npz}-work
mkdir -p "$work"

train() {
    local result=$1
    shift
    [[ -e $result ]] || python -m neural_style_tf train --photos "$photos" --network compact \
        "${styles[@]}" --batch-size 2 --output "$result" --resume "$@"
}

train "$work/small.npz" --size 128 --learning-rate 3e-3 "${first[@]}"
train "$work/medium.npz" --size 192 --steps 9000 --initial "$work/small.npz"
train "$work/large.npz" --size 256 --steps 13000 --learning-rate 1.5e-3 --seed 1 \
    --initial "$work/medium.npz"
python - "$work/large.npz" "$output" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np

from neural_style_tf import read_net
from neural_style_tf.transform.stored import packed

Path(sys.argv[2]).write_bytes(packed(read_net(sys.argv[1]), np.float16))
PYTHON
