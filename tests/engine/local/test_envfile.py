"""Files of NAME=value: read as docker compose reads them, and each wrong line told with its number."""

from __future__ import annotations

from pathlib import Path

import pytest

from exclusive_xcom.console import Refused
from exclusive_xcom.local import envfile

SHOWN = Path("connections.env")
KNOWN = {"PWD": "/my project", "USER": "ada"}


def read(folder: Path, text: str, **options: str) -> dict[str, str]:
    """What a file with that text holds."""
    path = folder / "a.env"
    path.write_text(text, encoding="utf-8")
    return envfile.read(path, KNOWN, SHOWN, **options)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=plain", "plain"),
        ("export A=plain # why", "plain"),
        ("A=a#b", "a#b"),
        ("A=${USER}@${PWD}", "ada@/my project"),
        ('A="airflow.* other.*"', "airflow.* other.*"),
        (r'A="one \"word\" \\ two"', r'one "word" \ two'),
        ("A='a$b ${PWD} # ü' # why", "a$b ${PWD} # ü"),
        (r"""A='{"password": "a\"b\\c\u0027"}'""", r"""{"password": "a\"b\\c\u0027"}"""),
        (r"A='it\'s \\'", r"it's \\"),
        ("A='two\nlines'", "two\nlines"),
        (r"A=back\slash", r"back\slash"),
        ("B=${USER}\nA=${B}!", "ada!"),
    ],
)
def test_values_are_those_that_compose_reads(tmp_path: Path, line: str, value: str) -> None:
    """Each was read by `docker compose config`, too: tests/test_docker.py does it again."""
    assert read(tmp_path, f"# comment\n\n{line}\n")["A"] == value


def test_an_empty_value_and_a_missing_file_count_as_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "A=\nB=''\n") == {}
    assert read(tmp_path, "A=before\nA=\n") == {}, "as in docker compose"
    assert envfile.read(tmp_path / "none", KNOWN, SHOWN) == {}


def test_names_that_begin_otherwise_are_not_looked_at(tmp_path: Path) -> None:
    assert read(tmp_path, "PASSWORD=a$b\nAIRFLOW_X=1\n", begins="AIRFLOW") == {"AIRFLOW_X": "1"}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("A=1\n\n\nno setting\n", 4, "not NAME=value"),
        ("# c\nA\n", 2, "not NAME=value"),
        ("A='s3cret\nB=1\n", 1, "both of its quotes"),
        ('A="s3cret" more\n', 1, "not NAME=value"),
        ("A=s3cret$word\n", 1, "single quotes"),
        ('A="s3cret$"\n', 1, "single quotes"),
        ("A=s3cret${NOBODY}\n", 1, "no variable NOBODY"),
        ("AIRFLOW_CONN_Db=x://s3cret@host\n", 1, "connection 'db' is looked for as AIRFLOW_CONN_DB: "),
        ("B=1\nAIRFLOW_CONN_DB=s3cret\n", 2, "connection 'db' is neither JSON nor a URI"),
        ("AIRFLOW_CONN_DB={'password': 's3cret'}\n", 1, "connection 'db' is no valid JSON"),
        ('AIRFLOW_CONN_DB={"password": "s3cret", "pasword": ""}\n', 1, "unknown field `pasword`"),
        ('AIRFLOW_CONN_DB={"password": "s3cret", "port": "a"}\n', 1, "port that is no number"),
        ("AIRFLOW_CONN_DB=postgres://me:s3c/ret@host/db\n", 1, "written %2F"),
        ("AIRFLOW_CONN_DB=aws://me:s3cret@/?endpoint_url=http://s3\n", 1, "write it as %3A%2F%2F"),
    ],
)
def test_a_wrong_line_is_told_by_its_number_and_not_by_its_value(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    with pytest.raises(Refused) as refused:
        read(tmp_path, text)
    assert str(refused.value).startswith(f"connections.env, line {line}: ")
    assert said in str(refused.value) and "s3c" not in str(refused.value)


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_bytes(b"A=\xff\n")
    with pytest.raises(Refused, match=r"connections\.env can't be read"):
        envfile.read(tmp_path / "a.env", KNOWN, SHOWN)


@pytest.mark.parametrize(
    "value",
    [
        '{"conn_type": "http", "host": "https://x", "port": "443", "extra": "{}"}',
        "postgres://me:p%40ss@host:5432/db?a=b",
        "http://https://host:80/path",
        "google-cloud-platform://?extra__x=%2F",
        "aws://",
    ],
)
def test_what_airflow_takes_for_a_connection_is_taken(tmp_path: Path, value: str) -> None:
    from airflow.sdk.definitions.connection import Connection

    assert read(tmp_path, f"AIRFLOW_CONN_DB='{value}'\n") == {"AIRFLOW_CONN_DB": value}
    make = Connection.from_json if value.startswith("{") else Connection.from_uri
    assert make(value, conn_id="db").conn_type
