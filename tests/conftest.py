"""Said before anything else is imported: tests are quick, offline and kind to two cores, and write outside the tree."""

import os, shutil, tempfile
from pathlib import Path

import pytest

OUTPUTS = tempfile.mkdtemp(prefix="classypics-tests-")
NOWHERE = "http://127.0.0.1:9"  # a port nobody listens on: a test that reaches for the network fails at once

os.environ.pop("CLASSYPICS_BUDGET", None)
os.environ["CLASSYPICS_OUTPUTS"] = OUTPUTS
if data := os.environ.get("CLASSYPICS_DATA"):
    os.environ["CLASSYPICS_DATA"] = str(Path(data).expanduser().absolute())  # notebooks run in another folder
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # two notebooks at a time; bit-equal runs need equal thread counts anyway
for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
    os.environ[name] = NOWHERE
os.environ.update(NO_PROXY="localhost,127.0.0.1", no_proxy="localhost,127.0.0.1", HF_HUB_OFFLINE="1", MPLBACKEND="agg")


def pytest_unconfigure():
    shutil.rmtree(OUTPUTS, ignore_errors=True)


@pytest.fixture(scope="session")
def real_data() -> Path:
    "The folder of real data sets, for tests that want one; without it they are skipped."
    if not os.environ.get("CLASSYPICS_DATA"):
        pytest.skip("CLASSYPICS_DATA is not set, so there are no real pictures to test on")
    return Path(os.environ["CLASSYPICS_DATA"])
