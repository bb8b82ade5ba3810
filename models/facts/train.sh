#!/bin/sh
# Makes the model folder anew, from the claims to the ONNX file and its evaluation: npm run train:facts
# Needs Node 24 (npm puts the project's own on the path) and a python3 with torch. On Debian the latter is
# installed when it is missing and we are root. PYTHON names another python3; STEPS and SEED are train.py's.
set -eu
cd "$(dirname "$0")"
python="${PYTHON:-/usr/bin/python3}"

if ! "$python" -c 'import torch' 2>/dev/null; then
  # Without openblas, Debian's torch multiplies with the reference BLAS, many times slower.
  apt-get update
  apt-get install --yes --no-install-recommends python3-torch python3-numpy libopenblas0-pthread
fi

# Debian 12's OpenBLAS does not know processors newer than itself, and takes them for a Prescott of 2004.
if [ -z "${OPENBLAS_CORETYPE:-}" ]; then
  if grep -qs avx512f /proc/cpuinfo; then export OPENBLAS_CORETYPE=SKYLAKEX
  elif grep -qs avx2 /proc/cpuinfo; then export OPENBLAS_CORETYPE=HASWELL
  fi
fi

mkdir -p build
node make-folder.ts
node make-training-data.ts --split training --count 300000 --seed 1 --out build/training.jsonl
node make-training-data.ts --split held-out --count 1000 --seed 2 --out build/held-out.jsonl
"$python" train.py --config config.json --training build/training.jsonl --held-out build/held-out.jsonl \
  --steps "${STEPS:-2500}" --seed "${SEED:-1}" --out build/weights.safetensors
node export.ts
node make-claims.ts --count 3000 --seed 2025 --out claims-3000.jsonl --labels claims-3000.labels.jsonl
node evaluate.ts --out evaluation.json
