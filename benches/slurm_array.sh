#!/usr/bin/env bash
# What `s2pipe run --executor slurm` adds to a plain job array of the same commands.
#
#     benches/slurm_array.sh FOLDER TASKS [REPEATS]
#
# FOLDER is filled with that many tiny synthetic scenes. A round is: (1) `sbatch --array` of `s2pipe task run` for each scene,
# timed from the submission to the last result in the cache; (2) the same by `s2pipe run`, a job a task (`pack: 1`), timed
# likewise and until the command has ended; (3) by `s2pipe run` as it packs by itself. Caches are fresh each time. Needs a
# Slurm in the path, and S2PIPE or target/release/s2pipe.
set -euo pipefail
folder=$1 tasks=$2 repeats=${3:-5}
s2pipe=${S2PIPE:-$(cd "$(dirname "$0")/.." && pwd)/target/release/s2pipe}
mkdir -p "$folder" && cd "$folder"
[ -d data ] || "$s2pipe" synth data --size 64 --train $((tasks - 2)) --val 2 >synth.log
cat >many.yaml <<'YAML'
name: many
root: .
classes: { 1: { name: a, color: red }, 2: { name: b, color: blue }, 3: { name: c, color: lime }, 4: { name: d, color: green }, 5: { name: e, color: gray }, 6: { name: f, color: navy } }
stages:
  ingest:
    uses: ingest
    with:
      train: { scenes: data/tra_scene/*.tif, truth: data/tra_truth/*.tif }
      val: { scenes: data/val_scene/*.tif, truth: data/val_truth/*.tif }
      bands: [blue, green, red, nir, swir, ndvi]
YAML
export S2PIPE_CONFIG=
# The records: what would be submitted is copied by an `sbatch` that submits nothing.
rm -rf packs cache-* stand-in && mkdir stand-in
printf '#!/bin/sh\nfor last; do :; done\ncp -r "$(dirname "$last")/packs" "%s/packs.new"\nmkdir -p "%s/packs"\nfor f in "%s"/packs.new/*.json; do mv "$f" "%s/packs/$(ls "%s/packs" | wc -l).json"; done; rm -r "%s/packs.new"\necho no >&2; exit 1\n' "$PWD" "$PWD" "$PWD" "$PWD" "$PWD" "$PWD" >stand-in/sbatch
chmod +x stand-in/sbatch
PATH=$PWD/stand-in:$PATH "$s2pipe" run many.yaml --executor slurm --set slurm.pack=1 --set slurm.array=$((tasks + 1)) --cache cache-records -q 2>/dev/null || true
count=$(ls packs | wc -l)
printf '#!/bin/sh\n#SBATCH --output=/dev/null\nexec "%s" task run "%s/packs/$SLURM_ARRAY_TASK_ID.json" --cache "$1"\n' "$s2pipe" "$PWD" >plain.sh
last() { find "$1/.s2pipe/actions" -name '*.json' -printf '%T@\n' | sort -n | tail -1; }
since() { python3 -c "print(f'{$2 - $1:.2f}')"; }
now() { date +%s.%N; }
echo "$count tasks; seconds: plain array | s2pipe, a job a task: last result, command | s2pipe, packed: last result, command"
for round in $(seq "$repeats"); do
  rm -rf cache-a cache-b cache-c && mkdir cache-a
  a=$(now)
  sbatch --parsable --array=0-$((count - 1)) plain.sh "$PWD/cache-a" >/dev/null
  until [ "$(find cache-a/.s2pipe/actions -name '*.json' 2>/dev/null | wc -l)" = "$count" ]; do sleep 0.2; done
  plain=$(since "$a" "$(last cache-a)")
  while [ -n "$(squeue -h)" ]; do sleep 0.2; done
  row="$round: $plain"
  for cache in cache-b cache-c; do
    options=(); [ $cache = cache-b ] && options=(--set slurm.pack=1)
    b=$(now)
    "$s2pipe" run many.yaml --executor slurm "${options[@]}" --cache $cache -q
    e=$(now)
    row="$row | $(since "$b" "$(last $cache)"), $(since "$b" "$e")"
    while [ -n "$(squeue -h)" ]; do sleep 0.2; done
  done
  echo "$row"
done
