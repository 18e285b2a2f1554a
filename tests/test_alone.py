"""A notebook opened alone, as Colab opens it: it finds or fetches the course that it should.

All have one setup cell (test_notebooks.py), so one notebook runs to its end, and the situations
are tried on that cell: with a small course on a git server of files.
"""

import contextlib
import http.server
import io
import json
import shutil
import socket
import subprocess
import sys
import threading
from urllib.parse import quote

import pytest
from helpers import code_cells, printed, run, says

from coursepack.files import ROOT

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(not shutil.which("git"), reason="fetching takes git")]
NOTEBOOK = ROOT / "notebooks" / "00_normalization_by_hand.ipynb"  # the quickest
[SETUP] = ["".join(cell["source"]) for cell in code_cells(NOTEBOOK) if cell["id"] == "setup"]
FIND, IMPORT = SETUP.split("sys.path.insert", 1)
SERVER = "https://github.com/"  # git takes the fixture's folder for it
COURSE = SERVER + "owner/course"
MAIN = {"COURSE_REPO": COURSE, "COURSE_REF": "main"}
STAMP = {"stamp": (COURSE, "v1")}  # by make publish
FEATURE = "feature/x/notebooks/y"


def git(folder, *commands):
    for command in commands:
        done = subprocess.run(["git", "-c", "user.name=test", "-c", "user.email=test@example.org",
                               *command.split()], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().strip()


def commit_course(folder, version):
    """A commit of a course of two short files."""
    (folder / "tools").mkdir(exist_ok=True)
    shutil.copy(ROOT / "tools" / "alone.py", folder / "tools")
    (folder / "model.py").write_text(version, encoding="utf-8")
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
    git(fork, f"checkout -qb {FEATURE}")
    commit_course(fork, "feature")
    git(fork, "checkout -q main")
    return server


class Host(http.server.SimpleHTTPRequestHandler):
    """Colab's runtime, which tells its sessions; for the rest it asks for a password."""

    def send_error(self, *args):
        self.send_response(401)
        self.send_header("WWW-Authenticate", "Basic")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """An empty folder to work in, without what a machine may have set, and without network."""
    (tmp_path / "alone").mkdir()
    monkeypatch.chdir(tmp_path / "alone")
    for name in ("DATA_DIR", "COURSE_REPO", "COURSE_REF", "COLAB_JUPYTER_IP", "KMP_TARGET_PORT",
                 "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    return tmp_path / "alone"


@pytest.fixture
def find(alone, server, tmp_path, monkeypatch):
    """The cell's first half: the version of the course that it finds, its folder, what it says."""
    for name, value in {"COUNT": "1", "KEY_0": f"url.{server.as_uri()}/.insteadOf",
                        "VALUE_0": SERVER}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    (tmp_path / "api").mkdir()
    host = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *args: Host(*args, directory=tmp_path))
    threading.Thread(target=host.serve_forever, args=[0.01], daemon=True).start()
    assert ": 9000}" in FIND  # Colab's port

    def find(stamp=("", ""), sessions=None, within=60, variables=(), **environment):
        if sessions is not None:
            told = [one if isinstance(one, dict) else {"path": one} for one in sessions]
            (tmp_path / "api" / "sessions").write_text(json.dumps(told), encoding="utf-8")
            environment["COLAB_JUPYTER_IP"] = "127.0.0.1"
        source = FIND.replace(": 9000}", f": {host.server_port}}}").replace("(60, ", f"({within}, ")
        source = source.replace('COURSE_REPO, COURSE_REF = "", ""',
                                f"COURSE_REPO, COURSE_REF = {json.dumps(stamp)[1:-1]}")
        scope = dict(variables)
        with contextlib.redirect_stdout(io.StringIO()) as said, monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value.replace("HOST", f"http://127.0.0.1:{host.server_port}"))
            exec(source, scope)
        version = (scope["ROOT"] / "model.py").read_text(encoding="utf-8")
        return version, scope["ROOT"].relative_to(alone).as_posix(), said.getvalue()

    yield find
    host.shutdown()
    host.server_close()


def opened(repo, ref, escape="/"):
    """The path of a notebook that Colab opened from GitHub."""
    return "fileId=" + quote(f"{SERVER}{repo}/blob/{ref}/notebooks/01.ipynb", safe=escape)


FORK = opened("fork/course", "main")
OTHERWISE = ("first", "owner/course at v1")  # the stamp


@pytest.mark.parametrize(("version", "named", "given"), [
    (*OTHERWISE, {"COURSE_REPO": COURSE, "COURSE_REF": "v1"}),
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
    (*OTHERWISE, STAMP | {"sessions": [FORK], "KMP_TARGET_PORT": "9"}),  # nobody answers
])
def test_what_is_asked_for_is_fetched_and_named_and_found_again(
        version, named, given, find, alone):
    found, folder, said = find(**given)
    commit = git(alone / "course", "rev-parse HEAD")
    assert (found, folder) == (version, "course")
    assert said == (f"Fetched the course from {SERVER}{named} (commit {commit[:7]}) "
                    "into course/.\n")
    repo = SERVER + named.split(" at ")[0]
    assert find(COURSE_REPO=repo, COURSE_REF=commit) == (version, "course", (
        f"The course in course/ is {repo} at {commit} (commit {commit[:7]}).\n"))
    assert [path.name for path in alone.iterdir()] == ["course"]


@pytest.mark.parametrize(("there", "ref", "changed", "given", "found"), [
    ("mine", "main", "runs.txt", MAIN, "second in mine"),
    ("course", "v1", "", MAIN, "second in course-HASH"),
    ("course", "main", "model.py", MAIN, "second in course-HASH"),
    ("course", "main", "model.py", {"stamp": (COURSE, "main")}, "second in course-HASH"),
    ("mine", "main", "model.py", {"sessions": [opened("owner/course", "main")]},
     "second in course"),
    # a clone of a user's own, one below the working folder, is the course that they mean
    ("course", "main", "model.py", {}, "of a user in course"),
    ("mine", "main", "model.py", STAMP, "of a user in mine"),
])
def test_a_course_that_is_there_is_used_if_it_is_what_is_asked_for(
        there, ref, changed, given, found, find, server, alone):
    git(server, f"clone -q {server / 'owner' / 'course'} {alone / there}")
    git(alone / there, f"checkout -q {ref}")
    if changed:
        (alone / there / changed).write_text("of a user", encoding="utf-8")
    before = {path: path.read_bytes() for path in alone.glob("**/*")
              if path.is_file() and path.name != "index"}  # git's own
    version, name = found.split(" in ")
    name = name.replace("HASH", git(server / "owner" / "course", "rev-parse --short=7 main"))
    for _ in range(2):  # what the first time fetched, the second finds
        *same, said = find(**given)
        assert same == [version, name]
        assert f"{name}/" in said
        assert {path.name for path in alone.iterdir()} == {there, name}
    assert all(file.read_bytes() == text for file, text in before.items())


@pytest.mark.parametrize(("cwd", "given"), [
    ("mine/tools", {"COURSE_REPO": "nowhere"}),
    ("other", {"variables": {"__vsc_ipynb_file__": "ALONE/mine/notebooks/01.ipynb"}}),
    ("other", {"JPY_SESSION_NAME": "ALONE/mine/notebooks/01.ipynb"}),
    ("mine", {"JPY_SESSION_NAME": "ALONE/theirs/notebooks/01.ipynb"}),  # of who started this
    ("theirs", {"variables": {"PAPERMILL_INPUT_PATH": "../mine/notebooks/01.ipynb"}}),
], ids=repr)
def test_the_course_around_a_notebook_is_used_without_a_word(cwd, given, find, alone, monkeypatch):
    for name in ("mine", "theirs", "other"):
        (alone / name / "tools").mkdir(parents=True)
        (alone / name / "model.py").write_text(name, encoding="utf-8")
        if name != "other":
            (alone / name / "tools" / "alone.py").touch()
    monkeypatch.chdir(alone / cwd)
    assert find(**json.loads(json.dumps(given).replace("ALONE", str(alone)))) == (
        "mine", "mine", "")


@pytest.mark.parametrize(("given", "said"), [
    ({}, "set the environment variable COURSE_REPO"),
    ({"COURSE_REPO": COURSE, "COURSE_REF": "v9"}, f"from {COURSE} at v9: fatal"),
    ({"COURSE_REPO": SERVER + "owner/other"}, "this is another repository"),
    ({"COURSE_REPO": COURSE, "PATH": ""}, "'git'"),
    ({"COURSE_REPO": "HOST/private", "http_proxy": ""}, "terminal prompts disabled"),
    ({"COURSE_REPO": "MUTE", "http_proxy": "", "within": 1}, "timed out after 1 seconds"),
])
def test_what_cannot_be_fetched_is_said_and_leaves_nothing(given, said, find, alone):
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes the call and says nothing
        mute = f"http://127.0.0.1:{mute.getsockname()[1]}/"
        given = {name: mute if value == "MUTE" else value for name, value in given.items()}
        with pytest.raises(RuntimeError, match=says(said, "in a copy of the whole course")):
            find(**given)
    assert not [*alone.iterdir()]


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setattr(sys, "path", sys.path[:])
    with pytest.raises(ModuleNotFoundError, match=says(
            "The package pandas is missing", f"-m pip install -r {ROOT / 'requirements.txt'}")):
        exec(f"sys.path.insert{IMPORT}", {"ROOT": ROOT, "sys": sys})


def test_one_notebook_runs_alone_to_its_end_by_papermills_own_command(alone, tmp_path):
    """Of a course that git has whole, and with another model.py and utils.py in the way."""
    for name in ("coursepack", "tools"):
        shutil.copytree(ROOT / name, tmp_path / "remote" / name)
    for file in [*ROOT.glob("*.py"), ROOT / ".gitignore"]:
        shutil.copy(file, tmp_path / "remote")
    git(tmp_path / "remote", "init -q", "add -A", "commit -qm course", "tag v1")
    for folder in (tmp_path, alone):
        for name in ("model.py", "utils.py"):
            (folder / name).write_text("raise ImportError('a decoy')", encoding="utf-8")
    shutil.copy(NOTEBOOK, alone / "mine.ipynb")
    done = run([sys.executable, "-m", "papermill", "--no-progress-bar", "mine.ipynb", "out.ipynb",
                "-p", "images", "5"], alone, COURSE_REPO=str(tmp_path / "remote"), COURSE_REF="v1",
               PYTHONPATH=str(tmp_path), TQDM_DISABLE="1")
    assert done.returncode == 0, done.stderr[-3000:]
    said = printed(alone / "out.ipynb")
    assert "into course/" in said
    assert "shape (N, C, H, W): (5, 2, 2, 2)" in said
    assert "0 of 3 exercises done." in said
