#!/usr/bin/env python3
"""Times `s2pipe cache push` and `cache fetch` beside a plain copy of the same files (examples/object_copy.rs).

    benches/share.py --s3 target/s3-server/bin/s3s-fs [--rounds 5] [--large 8] [--small 4000]
    benches/share.py --folder

The two alternate; the ratio is that of the medians. Needs numpy, a release build of both programs, and 4 GB of disk.
"""
import argparse, os, pathlib, resource, shutil, socket, statistics, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILT = ROOT / "target" / os.environ.get("PROFILE", "release")

MAKE = """
import numpy as np, os, sys
kind, count, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
rng = np.random.default_rng(count)
os.makedirs(out, exist_ok=True)
if kind == "large":
    # Reflectances: smooth fields with noise, in ten-thousandths, as float32.
    side = np.cumsum(rng.normal(0, 3, (2048, 12800)), axis=1) + rng.normal(0, 20, (2048, 12800))
    (np.round(1500 + side).astype(np.float32) / 10000).tofile(f"{out}/tile.bin")
else:
    for n in range(count):
        size = int(rng.integers(500, 6000))
        np.savetxt(f"{out}/{n}.csv", rng.integers(0, 9999, (size // 4, 4)), fmt="%d", delimiter=",")
"""


def pipeline(large, small):
    text = "name: share\nstages:\n"
    for n in range(large):
        text += f"  large{n}: {{ uses: shell, outputs: {{ o: o }}, with: {{ run: '{{python}} {{make}} large {n + 1} o' }} }}\n"
    for n in range(small // 100):
        text += f"  small{n}: {{ uses: shell, outputs: {{ o: o }}, with: {{ run: '{{python}} {{make}} small {80 + n} o' }} }}\n"
    return text


def timed(command, env):
    """Wall-clock seconds, and the processor's: a busy machine changes the former."""
    used = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    begun, before = time.monotonic(), used()
    subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.monotonic() - begun, used() - before


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--s3", type=pathlib.Path)
    parser.add_argument("--folder", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, default=8)
    parser.add_argument("--small", type=int, default=4000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(pathlib.Path(folder), args)


def measure(folder, args):
    project = folder / "project"
    (project / "pipelines").mkdir(parents=True)
    make = folder / "make.py"
    make.write_text(MAKE)
    (project / "pipelines/share.yaml").write_text(pipeline(args.large, args.small).replace("{make}", str(make)).replace("{python}", sys.executable))
    env = dict(os.environ, S2PIPE_CONFIG="", S2PIPE_REMOTE="")
    subprocess.run([BUILT / "s2pipe", "run", "-q", "-j", "2"], cwd=project, check=True, env=env)
    store = project / "cache/.s2pipe/store/files"
    sizes = [f.stat().st_size for f in store.rglob("*") if f.is_file()]
    print(f"{len(sizes)} files, {sum(sizes) / 1e6:.0f} MB, the largest {max(sizes) / 1e6:.0f} MB; load {os.getloadavg()[0]:.1f}")
    bucket, server = folder / "bucket", None
    (bucket / "shared").mkdir(parents=True)
    url = f"file://{bucket}/shared"
    if args.s3:
        port = free_port()
        server = subprocess.Popen([args.s3, "--host", "127.0.0.1", "--port", str(port), "--access-key", "a", "--secret-key", "b", bucket])
        env |= dict(AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}", AWS_ALLOW_HTTP="true", AWS_REGION="us-east-1")
        env |= dict(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")
        url = "s3://shared"
        time.sleep(1)
    try:
        rounds(folder, project, store, bucket / "shared", url, env, args.rounds)
    finally:
        if server:
            server.kill()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def rounds(folder, project, store, bucket, url, env, count):
    times = {name: [] for name in ("push", "copy there", "fetch", "copy back")}
    s2pipe, copy, back = BUILT / "s2pipe", BUILT / "examples/object_copy", folder / "back"
    share = ["--cache", project / "cache", "--remote", f"{url}/share"]
    pipeline = project / "pipelines/share.yaml"
    for number in range(count):
        for part in ("share", "plain"):
            shutil.rmtree(bucket / part, ignore_errors=True)
            (bucket / part).mkdir()
        times["push"].append(timed([s2pipe, "cache", "push", *share], env))
        times["copy there"].append(timed([copy, "push", store, f"{url}/plain"], env))
        fresh = folder / f"fresh{number}"
        times["fetch"].append(timed([s2pipe, "cache", "fetch", pipeline, "--cache", fresh, "--remote", f"{url}/share"], env))
        times["copy back"].append(timed([copy, "fetch", f"{url}/plain", back], env))
        stored = sum(f.stat().st_size for f in (bucket / "share").rglob("*") if f.is_file())
        shutil.rmtree(back)
        shutil.rmtree(fresh)
    print(f"in the remote {stored / 1e6:.0f} MB; load {os.getloadavg()[0]:.1f}")
    for name, all_ in times.items():
        wall, cpu = (statistics.median(t[i] for t in all_) for i in (0, 1))
        print(f"{name:10} median {wall:6.2f} s, of processors {cpu:6.2f} s  {' '.join(f'{t[0]:.2f}' for t in all_)}")
    for ours, floor in (("push", "copy there"), ("fetch", "copy back")):
        ratio = [statistics.median(t[i] for t in times[ours]) / statistics.median(t[i] for t in times[floor]) for i in (0, 1)]
        print(f"{ours} / {floor}: {ratio[0]:.2f}, of processors {ratio[1]:.2f}")


if __name__ == "__main__":
    main()
