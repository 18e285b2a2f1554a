"""A notebook opened alone, as Colab opens it: it finds or fetches the course that it should.

All have one setup cell (test_notebooks.py), so one notebook runs to its end, and the situations
are tried on that cell: with a small course on a git server of files, and packages that are empty.
"""

import http.server
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import quote

import nbformat
import pytest
from helpers import outputs, run

from coursepack.files import ROOT

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(not shutil.which("git"), reason="fetching takes git")]
NOTEBOOK = ROOT / "notebooks" / "00_normalization_by_hand.ipynb"  # the quickest
SERVER = "https://github.com/"  # git takes the fixture's folder for it
EMPTY = ("matplotlib/__init__", "matplotlib/pyplot", "numpy/__init__", "pandas/__init__",
         "torch/__init__", "torch/nn")
PROGRAM = """import json, sys
space = json.loads(sys.argv[2])
exec(sys.argv[1], space)
print(space['model'].VERSION, 'from', space['ROOT'], end='')"""


def git(folder, *commands):
    for command in commands:
        done = subprocess.run(["git", "-c", "user.name=test", "-c", "user.email=test@example.org",
                               *command.split()], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().strip()


def commit_course(folder, version):
    """A commit of a course of four short files."""
    (folder / "tools").mkdir(exist_ok=True)
    shutil.copy(ROOT / "tools" / "alone.py", folder / "tools")
    for name, text in {"model.py": f"VERSION = {version!r}\n", "exercises.py": "",
                       "utils.py": "def set_up(): pass\n"}.items():
        (folder / name).write_text(text, encoding="utf-8")
    git(folder, "add -A", "commit -qm course")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Repositories owner/course, its fork, one whose only branch is master, and no course."""
    server = tmp_path_factory.mktemp("server")
    for name, branch in {"course": "main", "master": "master", "other": "main"}.items():
        (server / "owner" / name).mkdir(parents=True)
        git(server / "owner" / name, f"init -q --initial-branch={branch}",
            "commit -q --allow-empty -m nothing")
    for name in ("course", "master"):
        commit_course(server / "owner" / name, "first")
    git(server / "owner" / "course", "tag v1")
    commit_course(server / "owner" / "course", "second")
    shutil.copytree(server / "owner", server / "fork")
    fork = server / "fork" / "course"
    commit_course(fork, "fork")
    git(fork, "checkout -qb feature/x/notebooks/y")
    commit_course(fork, "feature")
    git(fork, "checkout -q main")
    return server


class Host(http.server.BaseHTTPRequestHandler):
    """Colab's runtime, which tells its sessions; and hosts that ask for a password, or are mute."""

    def do_GET(self):
        if self.path.startswith("/mute"):
            self.server.over.wait()
        told = self.server.sessions if self.path == "/api/sessions" else None
        self.send_response(401 if told is None else 200)
        self.send_header("WWW-Authenticate", "Basic")
        self.end_headers()
        self.wfile.write(told or b"")

    def log_message(self, *args):
        pass


@pytest.fixture
def host():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    server.sessions, server.over = None, threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """An empty folder, with wrong model.py and utils.py in it and earlier on the path."""
    for place in ("decoys", "alone"):
        (tmp_path / place).mkdir()
        for name in ("model.py", "utils.py"):
            (tmp_path / place / name).write_text("raise ImportError('a decoy')", encoding="utf-8")
    for name in ("DATA_DIR", "COURSE_REPO", "COURSE_REF", "COLAB_JUPYTER_IP", "KMP_TARGET_PORT",
                 "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"PYTHONPATH": str(tmp_path / "decoys"), "TQDM_DISABLE": "1",
                        "http_proxy": "http://127.0.0.1:9",
                        "https_proxy": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "alone"


@pytest.fixture
def setup(alone, server, host, monkeypatch):
    """Run the setup cell in the empty folder; what it printed and what it raised."""
    for name in EMPTY:
        file = alone.parent / "decoys" / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.touch()
    for name, value in {"COUNT": "1", "KEY_0": f"url.{server.as_uri()}/.insteadOf",
                        "VALUE_0": SERVER}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    source = nbformat.read(NOTEBOOK, as_version=4).cells[2].source
    assert ": 9000}" in source  # where the tests put another port

    def start(stamp=("", ""), cwd=".", sessions=None, within=60, variables=(), **environment):
        if sessions is not None:
            host.sessions = sessions if isinstance(sessions, bytes) else json.dumps(
                [one if isinstance(one, dict) else {"path": one} for one in sessions]).encode()
            environment = {"COLAB_JUPYTER_IP": "127.0.0.1"} | environment
        own = source.replace('COURSE_REPO, COURSE_REF = "", ""',
                             f"COURSE_REPO, COURSE_REF = {json.dumps(stamp)[1:-1]}")
        own = own.replace("(60, ", f"({within}, ").replace(": 9000}", f": {host.server_port}}}")
        return run([sys.executable, "-S", "-c", PROGRAM, own, json.dumps(dict(variables))],
                   alone / cwd, **environment)

    return start


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def opened(repo, ref, escape="/"):
    """The path of a notebook that Colab opened from GitHub."""
    return "fileId=" + quote(f"{SERVER}{repo}/blob/{ref}/notebooks/01.ipynb", safe=escape)


FEATURE = "feature/x/notebooks/y"
COURSE = SERVER + "owner/course"
STAMP = {"stamp": (COURSE, "v1")}
FORK = opened("fork/course", "main")
OTHERWISE = ("first", "owner/course at v1")  # the stamp


@pytest.mark.parametrize(("version", "named", "given"), [
    (*OTHERWISE, {"COURSE_REPO": COURSE, "COURSE_REF": "v1"}),
    ("first", "owner/course at COMMIT", {"COURSE_REPO": COURSE, "COURSE_REF": "COMMIT"}),
    ("first", "owner/master at HEAD", {"COURSE_REPO": SERVER + "owner/master"}),
    (*OTHERWISE, STAMP),
    ("second", "owner/course at main", STAMP | {"COURSE_REF": "main"}),
    ("fork", "fork/course at HEAD", STAMP | {"COURSE_REPO": SERVER + "fork/course"}),
    ("fork", "fork/course at main", {"sessions": [FORK, opened("fork/course", "main", "")]}),
    ("feature", f"fork/course at {FEATURE}", STAMP | {
        "sessions": [{"notebook": {"path": opened("fork/course", FEATURE, "")}}]}),
    ("first", "fork/course at v1", {"sessions": [FORK], "COURSE_REF": "v1"}),
    ("second", "owner/course at HEAD", {"sessions": [FORK], "COURSE_REPO": COURSE}),
    # which of two is this notebook's nobody can tell; a copy in Drive is of no repository
    (*OTHERWISE, STAMP | {"sessions": [FORK, opened("fork/course", FEATURE)]}),
    (*OTHERWISE, STAMP | {"sessions": [FORK, "fileId=1AbC_d"]}),
    (*OTHERWISE, STAMP | {"sessions": b"\xff no JSON"}),
    (*OTHERWISE, STAMP | {"sessions": [FORK], "KMP_TARGET_PORT": "9"}),
])
def test_what_is_asked_for_is_fetched_and_named(version, named, given, setup, server, alone):
    first = git(server / "owner" / "course", "rev-parse v1")
    given = {name: first if value == "COMMIT" else value for name, value in given.items()}
    done = setup(**given)
    commit = git(alone / "course", "rev-parse --short=7 HEAD")
    assert done.stdout.splitlines() == [
        f"Fetched the course from {SERVER}{named.replace('COMMIT', first)} (commit {commit}) "
        "into course/.", f"{version} from {alone / 'course'}"], done.stderr
    assert names(alone) == ["course", "model.py", "utils.py"]


def clone(server, folder, ref="main", repo="owner/course"):
    git(server, f"clone -q {server / repo} {folder}")
    git(folder, f"checkout -q {ref}")


def half_a_clone(server, folder):
    clone(server, folder)
    for name in ("model.py", ".git/index"):
        (folder / name).unlink()


def changed(server, folder):
    clone(server, folder)
    (folder / "model.py").write_text("VERSION = 'of a user'\n", encoding="utf-8")


def used(server, folder):
    clone(server, folder)
    (folder / "runs").mkdir()


FROM_COURSE = {"COURSE_REPO": COURSE, "COURSE_REF": "main"}
ANOTHER = "second in course-HASH"


@pytest.mark.parametrize(("there", "make", "given", "found"), [  # what is there, and what is used
    ("course", used, FROM_COURSE, "second in course"),
    ("mine", clone, FROM_COURSE, "second in mine"),
    ("course", lambda *args: clone(*args, ref="v1"), FROM_COURSE, ANOTHER),
    ("course", lambda *args: clone(*args, repo="fork/course"), FROM_COURSE, ANOTHER),
    ("course", changed, FROM_COURSE, ANOTHER), ("course", half_a_clone, FROM_COURSE, ANOTHER),
    ("course", lambda server, file: file.write_text("a text", encoding="utf-8"), FROM_COURSE,
     ANOTHER),
    ("course", lambda server, folder: folder.mkdir(), FROM_COURSE, "second in course"),
    ("mine", changed, {"sessions": [opened("owner/course", "main")]}, "second in course"),
    ("course", changed, {"stamp": (COURSE, "main")}, ANOTHER),
    # a clone of a user's own, one below the working folder, is the course that they mean
    ("course", changed, {}, "of a user in course"), ("mine", changed, STAMP, "of a user in mine"),
])
def test_a_course_that_is_there_is_used_if_it_is_what_is_asked_for(
        there, make, given, found, setup, server, alone):
    make(server, alone / there)
    before = {path: path.read_bytes() for path in alone.glob("**/*") if path.is_file()}
    version, name = found.split(" in ")
    name = name.replace("HASH", git(server / "owner" / "course", "rev-parse --short=7 main"))
    for _ in range(2):  # what the first time fetched, the second finds
        done = setup(**given)
        line, end = done.stdout.splitlines()
        assert end == f"{version} from {alone / name}", done.stderr
        assert f"{name}/" in line
        assert names(alone) == sorted({"model.py", "utils.py", there, name})
    assert all(file.read_bytes() == text for file, text in before.items()
               if file.name != "index")  # git's own


@pytest.mark.parametrize(("cwd", "given"), [
    ("mine/tools", {"COURSE_REPO": "nowhere"}),
    ("other", {"variables": {"__vsc_ipynb_file__": "ALONE/mine/notebooks/01.ipynb"}}),
    ("other", {"JPY_SESSION_NAME": "ALONE/mine/notebooks/01.ipynb"}),
    ("mine", {"JPY_SESSION_NAME": "ALONE/theirs/notebooks/01.ipynb"}),  # of who started this
    ("theirs", {"variables": {"PAPERMILL_INPUT_PATH": "../mine/notebooks/01.ipynb"}}),
], ids=repr)
def test_the_course_around_a_notebook_is_used_without_a_word(cwd, given, setup, server, alone):
    (alone / "other").mkdir()
    clone(server, alone / "theirs")
    clone(server, alone / "mine", "v1")
    given = json.loads(json.dumps(given).replace("ALONE", str(alone)))
    done = setup(cwd=cwd, **given)
    assert done.stdout == f"first from {alone / 'mine'}", done.stderr


@pytest.mark.parametrize(("given", "said"), [
    ({}, "set the environment variable COURSE_REPO"),
    ({"COURSE_REPO": "nowhere"}, "Could not fetch the course from nowhere at HEAD"),
    ({"COURSE_REPO": COURSE, "COURSE_REF": "v9"}, "remote ref v9"),
    ({"COURSE_REPO": SERVER + "owner/other"}, "this is another repository"),
    ({"COURSE_REPO": COURSE, "PATH": ""}, "'git'"),
    ({"COURSE_REPO": "HOST/private"}, "terminal prompts disabled"),
    ({"COURSE_REPO": "HOST/mute", "within": 1}, "timed out after 1 seconds"),
])
def test_what_cannot_be_fetched_is_said_and_leaves_nothing(given, said, setup, alone, host):
    given = {name: value.replace("HOST", f"http://127.0.0.1:{host.server_port}")
             if isinstance(value, str) else value for name, value in given.items()}
    error = setup(http_proxy="", **given).stderr.split("\nRuntimeError: ")[1]
    assert said in error
    assert "Open this notebook in a copy of the whole course" in error
    assert names(alone) == ["model.py", "utils.py"]


def test_a_missing_package_is_named_with_the_command_that_installs_it(setup, alone, server):
    (alone.parent / "decoys" / "pandas" / "__init__.py").write_text(
        "import no_such_package", encoding="utf-8")
    clone(server, alone / "course")
    error = setup(cwd="course").stderr.splitlines()[-1]
    assert "The package no_such_package is missing" in error
    assert error.endswith(f"-m pip install -r {alone / 'course' / 'requirements.txt'}")


def ignored(folder, found):
    """For a copy of the working tree: what of a folder .gitignore names. No git is asked."""
    lines = [".git", *(ROOT / ".gitignore").read_text(encoding="utf-8").split()]
    return [name for name in found for line in lines if name == line.strip("/")
            and (Path(folder) == ROOT or not line.startswith("/"))]


def test_one_notebook_runs_alone_to_its_end_by_papermills_own_command(alone, tmp_path):
    shutil.copytree(ROOT, tmp_path / "remote", ignore=ignored)
    git(tmp_path / "remote", "init -q", "add -A", "commit -qm course", "tag v1")
    shutil.copy(NOTEBOOK, alone / "mine.ipynb")
    done = run([sys.executable, "-m", "papermill", "--no-progress-bar", "mine.ipynb", "out.ipynb",
                "-p", "images", "5"], alone, COURSE_REPO=str(tmp_path / "remote"), COURSE_REF="v1")
    assert done.returncode == 0, done.stderr[-3000:]
    printed = "".join(out.get("text", "") for out in outputs(alone / "out.ipynb"))
    assert "into course/" in printed
    assert "shape (N, C, H, W): (5, 2, 2, 2)" in printed
    assert "0 of 3 exercises done." in printed
