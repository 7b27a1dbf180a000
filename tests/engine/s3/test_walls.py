"""Policies and rights that projects and chapters have, on servers that enforce them."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from s3_identities import Identities
from s3_servers import BUCKET, configured, lengths, probed, seaweed
from walls import check_wall, theirs

from exclusive_xcom.errors import PayloadMissing
from exclusive_xcom.local.servers import SeaweedFS
from exclusive_xcom.testing.payloads import keep

ROOT = Path(__file__).parents[3]


def configuration(name: str) -> str:
    """A file of a project's config/, as it is in a project whose bucket is the tests'."""
    (folder,) = ROOT.glob("*cookiecutter.project_slug*/config")
    (path,) = folder.glob(f"*{name}*")
    text = path.read_text(encoding="utf-8")
    return re.sub(r"{{ cookiecutter\.(__bucket|project_slug [^}]*) }}", "engine-tests", text)


def chapter(language: str, after: str, name: str = "readers") -> str:
    """The first block of a language behind a line of a chapter."""
    text = (ROOT / f"engine/docs/{name}.md").read_text(encoding="utf-8").split(after)[1]
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[0]


def test_the_minimal_policy_is_enough(guarded: str, identities: Identities) -> None:
    """The one in config/, for everything that the backend does below its prefix."""
    text = configuration("aws-iam-policy.json")
    url = re.findall(r"arn:aws:s3:::([^*\"]+)/\*", text)
    assert len(url) == 1
    bucket, prefix = url[0].split("/")
    identities.client("s3").create_bucket(Bucket=bucket)
    key, secret = identities.user("minimal", document=json.loads(text))
    options = {"login": key, "password": secret}
    with identities.guard():
        with configured(guarded, f"s3://{bucket}/{prefix}", **options) as store:
            assert probed(store) == {}
            ref = keep(store, [b"value"])
            assert list(lengths()) == [ref.uri]
            store.delete(ref)
            with pytest.raises(PayloadMissing):
                store.fetch(ref)
        with configured(guarded, f"s3://{bucket}/other", **options) as store:
            assert list(probed(store)) == ["write"]


def test_groups_of_workers_are_kept_apart_by_their_policies(guarded: str, identities: Identities) -> None:
    """The chapter's policy: `payroll` is the group's own, `orders` it reads, the rest is not there for it."""
    text = chapter("json", "## A wall between groups of workers").replace("BUCKET", BUCKET)
    key, secret = identities.user("payroll", document=json.loads(text))
    url = f"s3://{BUCKET}/xcom"
    with configured(guarded, url) as store:
        refs = theirs(store)
    with identities.guard(), configured(guarded, url, login=key, password=secret) as store:
        check_wall(store, *refs)


# -- what the bucket itself asks for ----------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A SeaweedFS, which keeps to the policies of buckets."""
    with seaweed(tmp_path_factory.mktemp("seaweed")) as found:
        yield found


class Bucket:
    """Asks a SeaweedFS whose buckets have policies."""

    def __init__(self, server: SeaweedFS) -> None:
        login = json.loads(server.connection())
        self.client: Any = boto3.client(
            "s3",
            aws_access_key_id=login["login"],
            aws_secret_access_key=login["password"],
            **login["extra"],
        )

    def refuses(self, statement: dict[str, Any], name: str, *, expected: bool, **how: str) -> bool:
        """Whether a bucket with this statement, in which it has a name, refuses an object. It has a moment to
        know of its policy. What its server can't do for another reason, the policy did not refuse."""
        bucket = f"bucket-{uuid.uuid4()}"
        self.client.create_bucket(Bucket=bucket)
        text = json.dumps({"Version": "2012-10-17", "Statement": [statement]}).replace(name, bucket)
        self.client.put_bucket_policy(Bucket=bucket, Policy=text)
        answer = not expected
        for _ in range(100):
            try:
                self.client.put_object(Bucket=bucket, Key="xcom/x", Body=b"x", **how)
                answer = False
            except ClientError as error:
                answer = error.response["Error"]["Code"] == "AccessDenied"
            if answer == expected:
                break
            time.sleep(0.1)
        return answer


def test_the_bucket_refuses_what_is_not_encrypted(server: SeaweedFS) -> None:
    """Each statement of config/aws-bucket-policy.json, and that the other lets through what it should."""
    bucket, name = Bucket(server), "engine-tests"
    tls, encryption = json.loads(configuration("aws-bucket-policy.json"))["Statement"]
    assert bucket.refuses(tls, name, expected=True)
    assert not bucket.refuses(encryption, name, expected=False)
    assert bucket.refuses(encryption, name, expected=True, ServerSideEncryption="AES256")


KEY_ARN = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def test_the_chapters_policy_refuses_other_keys(server: SeaweedFS) -> None:
    """Each statement of the chapter on encryption: what asks for nothing passes, as does what asks for the
    right key."""
    bucket, name = Bucket(server), "BUCKET"
    text = chapter("json", "## The server", "encryption").replace("KEY-ARN", KEY_ARN)
    tls, key, kind = json.loads(text)["Statement"]
    assert bucket.refuses(tls, name, expected=True)
    other = KEY_ARN.replace("1234abcd", "9999abcd")
    for statement in (key, kind):
        assert not bucket.refuses(statement, name, expected=False)
        how = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": KEY_ARN}
        assert not bucket.refuses(statement, name, expected=False, **how)
    how = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": other}
    assert bucket.refuses(key, name, expected=True, **how)
    assert bucket.refuses(kind, name, expected=True, ServerSideEncryption="AES256")
