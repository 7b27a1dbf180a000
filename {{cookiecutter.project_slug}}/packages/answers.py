"""Shows the answers that this project was made with, and to what each can be changed: `make answers`."""

import json
import sys

# As the template's questions have them, by the names that `make switch` takes.
OFFERED = {
    "BACKEND": ("xcom_backend", ("db", "s3", "redis")),
    "EXAMPLES": ("examples", ("all", "one", "none")),
    "PYTHON": ("python_version", ("3.11", "3.12", "3.13", "3.14")),
    "CI": ("ci", ("github", "gitlab", "none")),
    "LICENSE": ("license", ("Proprietary", "Apache-2.0", "MIT", "BSD-3-Clause")),
    "ENGINE": ("engine", ("vendored", "installed")),
    "EXECUTOR": ("executor", ("LocalExecutor", "CeleryExecutor", "KubernetesExecutor")),
}


def main() -> None:
    """Show them, from .cruft.json alone: nothing is fetched."""
    try:
        with open(".cruft.json", encoding="utf-8") as file:
            link = json.load(file)
        answers = link["context"]["cookiecutter"]
        release = link.get("checkout") or str(link["commit"])[:10]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.exit(f".cruft.json, where the answers are kept, cannot be read ({error!r}).")
    print(f"This project is at {release} of {link['template']}, with these answers:\n")
    for name, (question, offered) in OFFERED.items():
        now = str(answers.get(question, offered[0]))
        others = ", ".join(choice for choice in offered if choice != now)
        print(f"    {f'{name}={now}':<22} or {others}")
    print("\n`make switch CI=gitlab` changes one; several at once are fine. DRY_RUN=1 only shows it.")
    print("Name, description and author are words: edit them where they stand. Updates leave them so.")


if __name__ == "__main__":
    main()
