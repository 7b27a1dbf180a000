"""Where keysets come from, which XCom has which, and that nothing shows them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from encrypted import ADDRESS, Backend, forget_keys, keyset_in, opened
from hypothesis import given
from hypothesis import strategies as st
from s3_servers import KEY, SECRET

from exclusive_xcom import config, keys, keysets
from exclusive_xcom.errors import BadOption, KeyMissing, NotEncrypted, XComError
from exclusive_xcom.inspection import _keysets

ORDERS = ADDRESS
PAYROLL = replace(ADDRESS, dag_id="payroll")


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[Backend]:
    """One of them: where a keyset comes from is the same for all."""
    with opened("folder", str, tmp_path) as found:
        yield found
    forget_keys()


def material(path: Path) -> str:
    """What of a keyset's file nobody may see."""
    found = json.loads(path.read_text())
    return str(found["key"][0]["keyData"]["value"])


# -- a file -----------------------------------------------------------------------------------------


def test_of_a_file(backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyset_in(path := tmp_path / "k.json")
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_FILE", str(path))
    assert backend.pull(backend.push((1,))) == (1,)
    (check, one) = _keysets()
    assert check.ok and "by keyset 'default'" in check.detail and "in plain is read, too" in check.detail
    assert one.ok and f"from {path}" in one.detail and "1 decrypt" in one.detail


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o640, 0o660, 0o602, 0o620])
def test_a_file_that_others_may_read_is_refused(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    keyset_in(path := tmp_path / "k.json")
    path.chmod(mode)
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_FILE", str(path))
    with pytest.raises(BadOption, match=rf"has mode {mode:03o} .*`chmod 600 "):
        backend.push((1,))
    assert not list(_keysets())[1].ok
    path.chmod(0o400)
    assert backend.pull(backend.push((1,))) == (1,)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_somebody_else_has_put_there_its_group_may_read(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Kubernetes mounts secrets."""
    keyset_in(path := tmp_path / "k.json")
    os.chown(path, 12345, -1)
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_FILE", str(path))
    path.chmod(0o440)
    assert backend.pull(backend.push((1,))) == (1,)
    path.chmod(0o444)
    with pytest.raises(BadOption):
        backend.push((1,))


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("", "is not one in Tink's JSON form"),
        ("{}", "has no primary key that is enabled"),
        ("[1]", "is not one in Tink's JSON form"),
        ("[" * 100_000, "is not one in Tink's JSON form"),
        ('{"primaryKeyId": 1, "key": 7}', "is not one in Tink's JSON form"),
        ('{"encryptedKeyset": "AAAA"}', "is wrapped by a KMS, and no KMS is named"),
    ],
)
def test_what_is_no_keyset_is_told(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, trouble: str
) -> None:
    (path := tmp_path / "k.json").write_text(text)
    path.chmod(0o600)
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_FILE", str(path))
    with pytest.raises(BadOption, match=f"Keyset 'default' {trouble}"):
        backend.push((1,))


def test_a_key_of_another_kind_is_refused(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tink import new_keyset_handle, streaming_aead

    streaming_aead.register()
    small = streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_4KB
    keyset_in(path := tmp_path / "k.json", keys._message(new_keyset_handle(small)))
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_FILE", str(path))
    with pytest.raises(BadOption, match="is of another kind than AES256_GCM_HKDF_1MB"):
        backend.push((1,))


@pytest.mark.parametrize("ids", [(0,), (7, 7)], ids=["none", "twice"])
def test_keys_have_ids_of_their_own(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids: tuple[int, ...]
) -> None:
    """A row says by which key it is encrypted: what is pushed by these could never be read."""
    found = keys.new_keyset()
    found.key.extend(keys.new_keyset().key[0] for _ in ids[1:])
    for key, number in zip(found.key, ids, strict=True):
        found.primary_key_id = key.key_id = number
    keyset_in(path := tmp_path / "k.json", found)
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_FILE", str(path))
    with pytest.raises(BadOption, match="has a key without an id, or two of one id"):
        backend.push((1,))


@pytest.mark.parametrize(
    ("option", "value"), [("ENCRYPTION", "demand"), ("KEYSET_KMS", "aws-kms://arn:aws:kms:eu:1:key/1")]
)
def test_a_keyset_that_is_wanted_and_not_named_is_no_reason_to_go_on_in_plain(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, option: str, value: str
) -> None:
    """As when the name of the option that says where it is has a slip of the pen."""
    row = backend.push((1,))
    monkeypatch.setenv(f"AIRFLOW__XCOM__{option}", value)
    said = f"AIRFLOW__XCOM__{option} is set, and no option here says where a keyset is"
    with pytest.raises(BadOption, match=said):
        backend.push((1,))
    with pytest.raises(BadOption, match=said):
        backend.push(1)
    if option == "ENCRYPTION":
        with pytest.raises(BadOption, match=said):
            backend.pull(row)
    (check,) = _keysets()
    assert not check.ok and said in check.detail


# -- other places -----------------------------------------------------------------------------------


def test_of_a_command(backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyset_in(path := tmp_path / "a keyset.json")
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_CMD", f"cat '{path}'")
    row = backend.push((1,))
    assert backend.pull(row) == (1,)
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_CMD", "cat /no/such/file")
    with pytest.raises(KeyMissing, match="a command: it ended with exit code 1"):
        backend.push((1,))
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_CMD", "no-such-command $HOME")
    with pytest.raises(KeyMissing, match="a command: No such file"):
        backend.pull(row)


@pytest.mark.parametrize("command", ['vault "SEKRET', "vault SEKRET\\", " ", "vault SEKRET\0x"])
def test_a_command_that_is_none_is_told_and_not_shown(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    path = tmp_path / "keysets.toml"
    path.write_text(f'default = "a"\n[keyset.a]\ncommand = {json.dumps(command)}\n', encoding="utf-8")
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSETS", str(path))
    with pytest.raises(BadOption, match="The command of keyset 'a' is none: ") as caught:
        backend.push((1,))
    assert "SEKRET" not in str(caught.value)


def test_a_command_is_asked_again_for_a_key_that_is_missing(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a rotation reaches workers that do not end."""
    found = keyset_in(path := tmp_path / "k.json")
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_CMD", f"cat {path}")
    old = backend.push((1,))
    (tmp_path / "calls").touch()
    keys.activate(found, keys.add(found))
    kept = dict(keysets._kept)
    keyset_in(path, found)
    new = backend.push((2,))
    keysets._kept.update(kept)
    monkeypatch.setattr(keysets, "_AGAIN", 3600.0)
    with pytest.raises(KeyMissing):
        backend.pull(new)
    monkeypatch.setattr(keysets, "_AGAIN", -1.0)
    assert (backend.pull(new), backend.pull(old)) == ((2,), (1,))


def test_of_the_workers_secrets_backend(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real one of Airflow's, in a process of its own, since Airflow reads its settings once."""
    keyset_in(path := tmp_path / "k.json")
    (tmp_path / "configs.json").write_text(json.dumps({"xcom-keys": path.read_text()}))
    (tmp_path / "own_secrets.py").write_text(
        "import json, pathlib\n"
        "from airflow.secrets.base_secrets import BaseSecretsBackend\n"
        "class Own(BaseSecretsBackend):\n"
        "    def __init__(self, path): self.path = path\n"
        "    def get_config(self, key): return json.loads(pathlib.Path(self.path).read_text()).get(key)\n"
    )
    code = (
        "import sys; from exclusive_xcom import keysets; from exclusive_xcom.address import Address\n"
        "key = keysets.for_push(Address('d', 'r', 't')); print(key.number)"
    )

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "AIRFLOW__XCOM__KEYSET_SECRET": "xcom-keys"}
        return subprocess.run(
            [sys.executable, "-c", code], env=environment | more, capture_output=True, text=True, check=False
        )

    own = {
        "AIRFLOW__WORKERS__SECRETS_BACKEND": "own_secrets.Own",
        "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS": json.dumps({"path": str(tmp_path / "configs.json")}),
    }
    done = run(**own)
    assert done.stdout.split()[-1:] == [str(json.loads(path.read_text())["primaryKeyId"])], done.stderr
    assert "no secrets backend is set in [workers] secrets_backend" in run().stderr
    lacks = run(**own, AIRFLOW__XCOM__KEYSET_SECRET="other").stderr
    assert "secret 'other': the secrets backend has no configuration of that name" in lacks
    assert material(path) not in done.stdout + done.stderr + lacks
    by_mistake = "".join(json.loads(path.read_text())["key"][0]["keyData"]["value"].split()) * 2
    lacks = run(**own, AIRFLOW__XCOM__KEYSET_SECRET=by_mistake).stderr
    assert f"secret '{by_mistake[:4]}…'" in lacks and by_mistake not in lacks


@pytest.fixture
def kms(moto: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A key in a real KMS server; its URI, as Tink has it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", moto)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    made = boto3.client("kms", region_name="eu-central-1").create_key()["KeyMetadata"]
    return f"aws-kms://{made['Arn']}"


def test_wrapped_by_a_kms(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kms: str
) -> None:
    path, found = tmp_path / "k.json", keys.new_keyset()
    path.write_text(keys.text_of(found, kms))
    path.chmod(0o600)
    assert "encryptedKeyset" in json.loads(path.read_text())
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_FILE", str(path))
    with pytest.raises(BadOption, match="is wrapped by a KMS, and no KMS is named"):
        backend.push((1,))
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_KMS", kms)
    assert backend.pull(backend.push((1,))) == (1,)
    other = boto3.client("kms", region_name="eu-central-1").create_key()["KeyMetadata"]["Arn"]
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_KMS", f"aws-kms://{other}")
    with pytest.raises(KeyMissing, match="was not unwrapped by aws-kms://"):
        backend.push((1,))
    keyset_in(path)
    with pytest.raises(BadOption, match="is not wrapped, and a KMS is named"):
        backend.push((1,))


@pytest.mark.parametrize(
    ("uri", "trouble"),
    [
        ("azure://vault/key", "azure:// is no KMS that is known"),
        ("gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k", "needs a library that is not installed"),
        ("hcvault://transit/keys/xcom", "needs a library that is not installed"),
    ],
)
def test_a_kms_that_is_not_there_is_told(uri: str, trouble: str) -> None:
    with pytest.raises(XComError, match=trouble):
        keys.text_of(keys.new_keyset(), uri)


# -- rules ------------------------------------------------------------------------------------------

RULES = """
default = "project"
rules = ["payroll.*.* by payroll", "*.*.report_url in plain"]
[keyset.project]
file = "{project}"
[keyset.payroll]
file = "{payroll}"
"""


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Two keysets, and rules for them."""
    files = {name: tmp_path / f"{name}.json" for name in ("project", "payroll")}
    for path in files.values():
        keyset_in(path)
    (rules := tmp_path / "keysets.toml").write_text(RULES.format(**files))
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSETS", str(rules))
    return files | {"rules": rules}


def test_each_xcom_has_its_keyset(backend: Backend, two: dict[str, Path]) -> None:
    numbers = {
        name: keys.parsed(name, two[name].read_text()).primary_key_id for name in ("project", "payroll")
    }
    for address, name in ((ORDERS, "project"), (PAYROLL, "payroll")):
        row = backend.push((1,), address)
        assert row["encryption"]["key"] == numbers[name]
        assert backend.pull(row, address) == (1,)
    plain = replace(PAYROLL, dag_id="orders", key="report_url")
    assert backend.push("https://…", plain) == "https://…"
    first = replace(PAYROLL, key="report_url")  # of two rules the first counts
    assert backend.push("https://…", first)["encryption"]["key"] == numbers["payroll"]


def test_a_worker_without_the_keyset_neither_reads_nor_writes(backend: Backend, two: dict[str, Path]) -> None:
    """The wall: what is not on the machine can't be read by whatever code runs there."""
    row = backend.push((1,), PAYROLL)
    two["payroll"].unlink()
    forget_keys()
    with pytest.raises(KeyMissing, match=r"Keyset 'payroll' is not there: .*No such file") as caught:
        backend.pull(row, PAYROLL)
    assert "Keyset 'project' has" in str(caught.value)
    with pytest.raises(KeyMissing, match="Keyset 'payroll' is not there"):
        backend.push((1,), PAYROLL)
    assert backend.pull(backend.push((1,))) == (1,)
    checks = {check.name: check for check in _keysets()}
    assert checks["keyset payroll"].ok and "neither reads nor pushes" in checks["keyset payroll"].detail
    two["project"].unlink()
    assert not {check.name: check for check in _keysets()}["keyset project"].ok


def test_what_was_written_by_other_rules_is_read_unless_it_is_demanded(
    backend: Backend, two: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = backend.push((1,))
    text = two["rules"].read_text()
    two["rules"].write_text(text.replace('"payroll.*.*', '"orders.*.* by payroll", "payroll.*.*'))
    assert backend.pull(row) == (1,)
    monkeypatch.setenv("AIRFLOW__XCOM__ENCRYPTION", "demand")
    told = "by keyset 'project', and by the rules it has to be by 'payroll'"
    with pytest.raises(NotEncrypted, match=told):
        backend.pull(row)
    two["rules"].write_text(text)
    assert backend.pull(row) == (1,)


def test_rules_that_are_wrong_are_told(backend: Backend, two: dict[str, Path]) -> None:
    text = two["rules"].read_text()
    for before, after, trouble in (
        ('default = "project"', "", "default must be the name of a keyset or 'plain'"),
        ('"project"', '"projekt"', "there are 'project', 'payroll', 'plain'"),
        ("by payroll", "by payrol", "Rule 'payroll.*.* by payrol' must be a text as"),
        ("payroll.*.* by", "payroll.* by", "must be a text as"),
        ("in plain", "plain", "must be a text as"),
        ("[keyset.project]", '[keyset.project]\nkind = "x"', "has 'kind'"),
        ("[keyset.project]", '[keyset.project]\nsecret = "x"', "has one of file, command, secret"),
        ("[keyset.project]", '[keyset.plain]\nfile = "/x"\n[keyset.project]', "another name than 'plain'"),
        ('file = "/', 'file = "', "file must be a whole path"),
        ("default", "defualt", "did you mean default?"),
        ("rules = [", "rules = [7, ", "Rule 7 must be a text"),
        ("[keyset.payroll]", "[keyset.payroll", "Expected"),
        ('file = "/', 'command = "echo {', "a keyset never stands here"),
    ):
        two["rules"].write_text(text.replace(before, after, 1))
        with pytest.raises(BadOption) as caught:
            backend.push((1,))
        assert trouble in str(caught.value), str(caught.value)


def test_one_place_counts(backend: Backend, two: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_FILE", str(two["project"]))
    with pytest.raises(BadOption, match="AIRFLOW__XCOM__KEYSET_FILE and AIRFLOW__XCOM__KEYSETS "):
        backend.push((1,))


# -- nothing shows them -----------------------------------------------------------------------------

OPTIONS = [option for name, option in vars(config).items() if name.startswith("KEYSET")]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_a_keyset_as_the_value_of_an_option_is_refused_and_not_shown(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: Any
) -> None:
    keyset_in(path := tmp_path / "k.json")
    monkeypatch.setenv(option.variable, path.read_text())
    if option is config.KEYSET_KMS:
        monkeypatch.setenv("AIRFLOW__XCOM__KEYSET_FILE", str(path))
    with pytest.raises(BadOption, match=f"{option.variable} is set, and not shown here") as caught:
        backend.push((1,))
    assert material(path) not in str(caught.value) + " ".join(config.mistakes())
    assert any(option.variable in mistake for mistake in config.mistakes())


def test_airflow_shows_options_and_none_holds_a_key(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command line and the API show the options of a section that Airflow does not know, unmasked: that
    is why a keyset is none of them."""
    keyset_in(path := tmp_path / "k.json")
    options = {"KEYSET_FILE": str(path), "KEYSET_CMD": f"cat {path}", "KEYSET_SECRET": "xcom-keys"}
    variables = {f"AIRFLOW__XCOM__{name}": value for name, value in options.items()}
    variables["AIRFLOW__API__EXPOSE_CONFIG"] = "True"
    variables["AIRFLOW__XCOM__KEYSET"] = path.read_text().replace("\n", " ")  # what a push refuses
    cli = [Path(sys.executable).with_name("airflow"), "config", "get-value", "xcom", "keyset"]
    told = {}
    for name, command in (("api", [sys.executable, "-c", API]), ("cli", cli)):
        done = subprocess.run(
            command, env=os.environ | variables, capture_output=True, text=True, check=False
        )
        told[name] = done.stdout + done.stderr
    wrong, right = told["api"].split("WITHOUT")
    assert material(path) in wrong and material(path) in told["cli"]
    assert all(value in right for value in options.values()) and material(path) not in right


# What the api-server does for GET /api/v2/config.
API = """
import os
from airflow.api_fastapi.common.types import Mimetype
from airflow.api_fastapi.core_api.routes.public import config as routes
print(routes.get_config(accept=Mimetype.TEXT).body.decode())
del os.environ["AIRFLOW__XCOM__KEYSET"]
print("WITHOUT", routes.get_config(accept=Mimetype.TEXT).body.decode())
"""


@given(st.text(max_size=300))
def test_no_text_is_a_keyset_by_accident(text: str) -> None:
    with pytest.raises((BadOption, KeyMissing)):
        keys.loaded("k", text)


def test_nothing_that_is_printed_of_a_keyset_holds_a_key(tmp_path: Path) -> None:
    keyset_in(path := tmp_path / "k.json")
    found = keysets.keyset(keysets.Source("k", file=str(path), command=""))
    assert material(path)[:20] not in repr(found) + str(found)
    assert "cat" not in repr(keysets.Source("k", command="cat /secret"))
