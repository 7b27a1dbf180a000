"""Users and roles of an S3 server that checks what they may, as AWS does."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
from s3_servers import BUCKET, KEY, SECRET


class Identities:
    """Users and roles of a guarded moto."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def client(self, service: str) -> Any:
        """boto3 as root."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        )

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Rights are checked in here."""
        self.reset(0)
        try:
            yield
        finally:
            self.reset(10_000)

    def reset(self, count: int) -> None:
        """How many requests pass unchecked from now on."""
        request = urllib.request.Request(
            f"{self.endpoint}/moto-api/reset-auth",
            data=str(count).encode(),
            headers={"Content-Type": "text/plain"},
        )
        with urllib.request.urlopen(request):
            pass

    def user(
        self, name: str, *actions: str, sts: bool = True, document: dict[str, Any] | None = None
    ) -> tuple[str, str]:
        """A user who may do these things and assume roles, or what a policy says; key and secret."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        iam.put_user_policy(
            UserName=name, PolicyName="p", PolicyDocument=json.dumps(document or policy(*actions, sts=sts))
        )
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return made["AccessKeyId"], made["SecretAccessKey"]

    def role(self, name: str, *actions: str) -> str:
        """A role that may do these things; its ARN."""
        iam = self.client("iam")
        trust = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
        }
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(policy(*actions)))
        return str(made["Role"]["Arn"])


def policy(*actions: str, sts: bool = False) -> dict[str, Any]:
    """An IAM policy that allows actions on the bucket."""
    resources = [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"]
    statements = [{"Effect": "Allow", "Action": list(actions), "Resource": resources}]
    if sts:
        statements.append({"Effect": "Allow", "Action": ["sts:*"], "Resource": ["*"]})
    return {"Version": "2012-10-17", "Statement": statements}
