"""From nothing to sixteen pictures: `python bench/start.py [MODEL]`.

Import, load and draw, seven times, each in a fresh process; medians, and from least to most. torch's own import is not
counted: it comes first.
"""

import json, statistics, subprocess, sys

ONCE = """
import json, statistics, sys, time
import torch, torchvision
marks = [time.perf_counter()]
mark = lambda: marks.append(time.perf_counter())
import classypics; from classypics import Pipeline; mark()
pipe = Pipeline.from_pretrained(sys.argv[1]); mark()
sixteen = [name for (name, *_) in zip(pipe.classes * 16, range(16))]
pipe(sixteen).images; mark()
for _ in range(5): pipe(sixteen).images; mark()
times = [b - a for a, b in zip(marks, marks[1:])]
print(json.dumps(times[:3] + [statistics.median(times[3:])]))
"""
WHAT = ("import classypics", "from_pretrained", "16 pictures, the first time", "16 pictures, warm")


def main(model: str = "fashion-mnist") -> None:
    once = [sys.executable, "-c", ONCE, model]
    runs = [json.loads(subprocess.run(once, stdout=subprocess.PIPE, text=True, check=True).stdout) for _ in range(7)]
    for what, times in zip(WHAT, zip(*runs)):
        print(f"{what:28} {statistics.median(times):6.3f} s ({min(times):.3f} to {max(times):.3f})")


if __name__ == "__main__":
    main(*sys.argv[1:])
