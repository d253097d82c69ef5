"""Installs the package in a running container and uses it as an operator would: check.py INIT ROOT WORK

INIT is the container's first process, ROOT its files, WORK a directory with room. This process has the
container's network, so that an S3 store started here is next to the service there. Each step is a
function that says in its name what has to hold; they run in this order, one after the other.
"""

import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clients"))

import boto3
import botocore.config
import botocore.exceptions
import pyarrow
import pyarrow.parquet
import servers
from test_duckdb import connect

INIT, ROOT, WORK = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
CONF = ROOT / "etc/s3proxy/s3proxy.yaml"
UNIT_FILE = ROOT / "usr/lib/systemd/system/s3proxy.service"
PROXY = "http://127.0.0.1:3000"
ADMIN = "http://127.0.0.1:3001"
BUCKET = "lake"
ROWS = 50_000
ETL = servers.Credentials("ETLKEY", "etl-secret-of-the-package-test")
SHIPPED_ENDPOINT = "https://s3.us-east-1.amazonaws.com"


def inside(*command, check=True):
    """Runs a command in the container as root."""
    done = subprocess.run(
        ["nsenter", "--target", INIT, "--all", "--wd=/", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
         "DEBIAN_FRONTEND=noninteractive", *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if check and done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{journal()}")
    return done


def journal():
    return inside("journalctl", "--no-pager", "-n", "40", "-u", "s3proxy", check=False).stdout


def is_active():
    return inside("systemctl", "is-active", "s3proxy", check=False).stdout.strip() == "active"


def main_pid():
    return int(inside("systemctl", "show", "-P", "MainPID", "s3proxy").stdout)


def client(endpoint, credentials, **options):
    return boto3.session.Session().client(
        "s3", endpoint_url=endpoint, region_name=servers.REGION,
        aws_access_key_id=credentials.access_key, aws_secret_access_key=credentials.secret_key,
        config=botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, **options),
    )  # fmt: skip


def wait_until(what, holds, seconds=30):
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            sys.exit(f"not in time: {what}\n{journal()}")
        time.sleep(0.1)


def is_ready():
    try:
        return servers.http_status(f"{ADMIN}/readyz") == 200
    except OSError:
        return False


def owner_and_mode(path):
    said = inside("stat", "-c", "%U:%G %a", path).stdout.strip()
    return said


def metric(name):
    page = urllib.request.urlopen(f"{ADMIN}/metrics", timeout=5).read().decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(name + "{"))


def files_of_the_package():
    """What lies in the container under a name of the package's, outside of dpkg's own records."""
    said = inside(
        "find", "/", "-xdev", "(", "-path", "/packages", "-o", "-path", "/proc", "-o", "-path", "/sys",
        "-o", "-path", "/var/lib/dpkg", ")", "-prune", "-o", "-name", "*s3proxy*", "-print",
    ).stdout  # fmt: skip
    return sorted(said.split())


def edit_the_endpoint(url):
    text = CONF.read_text()
    assert text.count(SHIPPED_ENDPOINT) == 1, text
    CONF.write_text(text.replace(SHIPPED_ENDPOINT, url))


def it_is_installed_and_waits_for_its_one_line():
    said = inside("dpkg", "-i", "/packages/first.deb").stdout
    assert "edit the endpoint" in said, said
    assert not is_active()
    assert inside("systemctl", "is-enabled", "s3proxy", check=False).stdout.strip() == "disabled"
    assert owner_and_mode("/var/cache/s3proxy") == "s3proxy:s3proxy 700"
    assert owner_and_mode("/etc/s3proxy/credentials") == "root:root 700"
    assert owner_and_mode("/etc/s3proxy/environment") == "root:root 600"
    account = inside("getent", "passwd", "s3proxy").stdout
    assert account.rstrip().endswith(":/usr/sbin/nologin"), account
    conffiles = inside("dpkg-query", "-W", "-f", "${Conffiles}", "s3proxy").stdout
    for file in ("/etc/s3proxy/s3proxy.yaml", "/etc/s3proxy/environment", "/etc/logrotate.d/s3proxy"):
        assert file in conffiles, conffiles
    inside("systemd-analyze", "verify", "--man=no", "/usr/lib/systemd/system/s3proxy.service")
    for page in (ROOT / "usr/share/man/man1").glob("s3proxy*.1.gz"):
        assert page.stat().st_size > 200, page
    # dpkg may leave /usr/share/doc out (dpkg's path-exclude in slim images), never this.
    completed = inside(
        "bash", "-c",
        ". /usr/share/bash-completion/completions/s3proxy; "
        "COMP_WORDS=(s3proxy --ca) COMP_CWORD=1; _s3proxy s3proxy --ca s3proxy; echo ${COMPREPLY[@]}",
    ).stdout  # fmt: skip
    assert "--cache-dir --cache-memory --cache-disk" in completed, completed
    third_parties = subprocess.run(
        ["zcat", ROOT / "usr/share/doc/s3proxy/third-party-licences.txt.gz"], capture_output=True, text=True, check=True
    ).stdout
    assert re.search(r"^pingora-core .*: Apache-2.0$", third_parties, re.MULTILINE)


def it_serves_an_engine_after_the_edit(store):
    edit_the_endpoint(store.url)
    environment = ROOT / "etc/s3proxy/environment"
    environment.write_text(
        f"AWS_ACCESS_KEY_ID={servers.ORIGIN.access_key}\nAWS_SECRET_ACCESS_KEY={servers.ORIGIN.secret_key}\n"
    )
    said = inside(
        "systemd-run", "--quiet", "--pipe", "--wait", "--uid=s3proxy",
        "-p", "EnvironmentFile=-/etc/s3proxy/environment", "-p", "RuntimeDirectory=s3proxy-doctor",
        "-p", "LimitNOFILE=65536",
        "s3proxy", "-c", "/etc/s3proxy/s3proxy.yaml", "doctor", "--bucket", BUCKET, "--write",
    ).stdout  # fmt: skip
    assert "problems: 0, warnings: 0" in said or "warning  disk" in said, said
    assert "the object was deleted again" in said and "the port is free" in said, said
    inside("systemctl", "enable", "--now", "s3proxy")
    wait_until("ready", is_ready)
    read_through(servers.ORIGIN)
    before = metric("s3proxy_upstream_requests_total")
    read_through(servers.ORIGIN)
    assert metric("s3proxy_cache_served_bytes_total") > 0
    asked = metric("s3proxy_upstream_requests_total") - before
    assert asked <= 6, f"{asked} requests for what is cached"
    wait_until("the cache on disk", lambda: any((ROOT / "var/cache/s3proxy").rglob("*")))


def read_through(credentials):
    s3 = client(PROXY, credentials)
    assert s3.get_object(Bucket=BUCKET, Key="hello.txt")["Body"].read() == b"hello through the package\n"
    side = Side(credentials)
    found = connect(side).execute(f"SELECT count(*), sum(id) FROM 's3://{BUCKET}/rows.parquet'").fetchall()
    assert found == [(ROWS, ROWS * (ROWS - 1) // 2)], found


class Side:
    """What the DuckDB tests ask of a side."""

    region = servers.REGION
    host = PROXY.removeprefix("http://")
    endpoint = PROXY

    def __init__(self, credentials):
        self.access_key, self.secret_key = credentials.access_key, credentials.secret_key


def it_runs_without_rights():
    status = Path(f"/proc/{pid_outside()}/status").read_text()
    uid = inside("id", "-u", "s3proxy").stdout.strip()
    assert re.search(rf"^Uid:\s+{uid}\s", status, re.MULTILINE), status
    for field in ("CapEff", "CapPrm", "CapBnd"):
        assert re.search(rf"^{field}:\s+0+$", status, re.MULTILINE), status
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE), status
    assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE), status


def pid_outside():
    """The service's process as this machine numbers it."""
    wanted = str(main_pid())
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        numbers = re.search(r"^NSpid:\s+(.*)$", text, re.MULTILINE)
        if numbers and text.startswith("Name:\ts3proxy") and numbers[1].split()[1:2] == [wanted]:
            return int(status.parent.name)
    sys.exit("the service has no process")


def secrets_reach_it_as_credentials():
    CONF.write_text(
        CONF.read_text()
        + f"""
clients:
  - name: etl
    access_key_id: {ETL.access_key}
    secret_access_key_file: /run/credentials/s3proxy.service/secret_etl
    allow:
      - buckets: [{BUCKET}]
        actions: [read, list]
"""
    )
    secret = ROOT / "etc/s3proxy/credentials/etl"
    secret.touch(mode=0o600)
    secret.write_text(ETL.secret_key + "\n")
    inside("systemctl", "restart", "s3proxy")
    wait_until("ready", is_ready)
    read_through(ETL)
    try:
        client(PROXY, servers.ORIGIN).get_object(Bucket=BUCKET, Key="hello.txt")
        sys.exit("whoever is no client any more was served")
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "InvalidAccessKeyId", error


def the_doctor_finds_it_well():
    said = inside(
        "sh", "-c",
        "set -a; . /etc/s3proxy/environment; CREDENTIALS_DIRECTORY=/run/credentials/s3proxy.service"
        " exec s3proxy -c /etc/s3proxy/s3proxy.yaml doctor",
    ).stdout  # fmt: skip
    assert f"bucket {BUCKET}: an object can be read" in said, said
    assert said.count("in use by s3proxy itself") == 2, said
    assert ETL.secret_key not in said and servers.ORIGIN.secret_key not in said


def an_upgrade_of_the_package_keeps_it_serving():
    hands_over = "ExecReload=" in UNIT_FILE.read_text()
    failures, stop = [], threading.Event()

    def ask():
        s3 = client(PROXY, ETL, connect_timeout=5, read_timeout=20)
        while not stop.is_set():
            try:
                s3.get_object(Bucket=BUCKET, Key="hello.txt")["Body"].read()
            except Exception as error:
                failures.append(error)
            time.sleep(0.02)

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    before = main_pid()
    said = inside("dpkg", "-i", "/packages/second.deb").stdout
    assert "was not replaced" not in said, said + journal()
    wait_until("another process", lambda: main_pid() not in (0, before))
    wait_until("ready", is_ready)
    time.sleep(1)
    stop.set()
    for thread in asking:
        thread.join()
    assert is_active()
    running = os.readlink(f"/proc/{pid_outside()}/exe")
    assert "deleted" not in running, running
    assert ETL.access_key in CONF.read_text()
    if hands_over:
        assert not failures, failures[:3]
    print(f"   {'handed over' if hands_over else 'restarted'}, {len(failures)} requests failed")
    read_through(ETL)


def removing_it_stops_it_and_leaves_the_configuration():
    inside("dpkg", "--remove", "s3proxy")
    assert not is_active()
    assert not inside("pidof", "s3proxy", check=False).stdout
    left = files_of_the_package()
    allowed = ("/etc/", "/var/cache/s3proxy", "/var/log/s3proxy", "/var/lib/systemd/deb-systemd-helper-")
    assert all(path.startswith(allowed) for path in left), left
    assert "/etc/s3proxy/s3proxy.yaml" in left and "/var/cache/s3proxy" in left
    assert ETL.access_key in CONF.read_text()


def an_edited_file_that_is_there_before_starts_at_once():
    inside("dpkg", "--purge", "s3proxy")
    text = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", WORK / "first.deb"], capture_output=True, check=True
    ).stdout
    text = subprocess.run(
        ["tar", "-xO", "./etc/s3proxy/s3proxy.yaml"], input=text, capture_output=True, check=True
    ).stdout.decode()
    (ROOT / "etc/s3proxy").mkdir(mode=0o755)
    CONF.write_text(text.replace(SHIPPED_ENDPOINT, "http://127.0.0.1:9"))
    inside("dpkg", "--force-confold", "-i", "/packages/first.deb")
    assert is_active(), journal()
    assert inside("systemctl", "is-enabled", "s3proxy").stdout.strip() == "enabled"


def purging_it_leaves_nothing():
    # As a service that was used, with secrets and an override.
    (ROOT / "etc/s3proxy/credentials/etl").write_text("secret\n")
    override = ROOT / "etc/systemd/system/s3proxy.service.d"
    override.mkdir(exist_ok=True)
    (override / "override.conf").write_text("[Service]\nNice=1\n")
    said = inside("dpkg", "--purge", "s3proxy").stdout
    assert "warning" not in said, said
    assert not is_active()
    left = files_of_the_package()
    assert left == [], left
    uid = inside("id", "-u", "s3proxy").stdout.strip()
    owned = inside("find", "/", "-xdev", "-path", "/proc", "-prune", "-o", "-uid", uid, "-print").stdout
    assert owned == "", owned


def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=False)
    with servers.seaweedfs(WORK) as store:
        s3 = client(store.url, servers.ORIGIN)
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="hello.txt", Body=b"hello through the package\n")
        table = pyarrow.table({"id": pyarrow.array(range(ROWS), pyarrow.int64())})
        pyarrow.parquet.write_table(table, WORK / "rows.parquet")
        s3.upload_file(str(WORK / "rows.parquet"), BUCKET, "rows.parquet")
        steps = [
            it_is_installed_and_waits_for_its_one_line,
            lambda: it_serves_an_engine_after_the_edit(store),
            it_runs_without_rights,
            secrets_reach_it_as_credentials,
            the_doctor_finds_it_well,
            an_upgrade_of_the_package_keeps_it_serving,
            removing_it_stops_it_and_leaves_the_configuration,
            an_edited_file_that_is_there_before_starts_at_once,
            purging_it_leaves_nothing,
        ]
        for step in steps:
            began = time.monotonic()
            step()
            name = step.__name__ if step.__name__ != "<lambda>" else "it_serves_an_engine_after_the_edit"
            print(f"ok {time.monotonic() - began:5.1f} s  {name.replace('_', ' ')}", flush=True)
    print(f"{len(steps)} passed, 0 failed")


if __name__ == "__main__":
    main()
