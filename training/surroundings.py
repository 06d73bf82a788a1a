"""What a run was computed with: Python, packages, the state of the code; nothing that names a person or a machine."""

import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "influencer-roi", "numpy", "polars", "scipy", "scikit-learn", "lightgbm", "numba", "highspy", "mlflow", "bentoml",
)  # fmt: skip
NO_GIT = "not a git checkout"


@dataclass(frozen=True)
class Surroundings:
    """Of one run.

    Attributes:
        python, system: such as `3.11.9` and `Linux x86_64`.
        packages: versions by name; those not installed are left out.
        commit: of the code, or NO_GIT.
        changed: whether files differ from the commit; None where there is none.
    """

    python: str
    system: str
    packages: dict[str, str]
    commit: str
    changed: bool | None

    @property
    def code(self) -> str:
        """The state of the code in words.

        >>> Surroundings("3.11", "Linux", {}, "0123456789abcdef", True).code
        'git commit 0123456789ab with changes not committed'
        """
        if self.changed is None:
            return self.commit
        return f"git commit {self.commit[:12]}{' with changes not committed' if self.changed else ''}"

    def params(self) -> dict[str, str]:
        """What runs are compared by."""
        return {
            "python": self.python,
            "git_commit": self.commit,
            "git_changed": "" if self.changed is None else str(self.changed).lower(),
            "lightgbm": self.packages.get("lightgbm", ""),
        }

    def as_dict(self) -> dict[str, Any]:
        """Everything, JSON-able."""
        return {
            "python": self.python, "system": self.system, "packages": self.packages,
            "code": {"commit": self.commit, "changed": self.changed},
        }  # fmt: skip


def surroundings(code: Path | None = None) -> Surroundings:
    """Look around.

    Args:
        code: folder that holds the packages of the code; default: where this file's package lies.
    """
    root = Path(__file__).resolve().parent.parent if code is None else code.resolve()
    commit, changed = _git(root)
    return Surroundings(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        packages={name: found for name in PACKAGES if (found := _version(name)) is not None},
        commit=commit,
        changed=changed,
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(root: Path) -> tuple[str, bool | None]:
    """Commit of the checkout whose top is `root` and whether its files differ; a package installed has none."""
    top = _ask_git(root, "rev-parse", "--show-toplevel")
    # an environment inside somebody's checkout is not that checkout
    if top is None or Path(top).resolve() != root:
        return NO_GIT, None
    commit, differs = _ask_git(root, "rev-parse", "HEAD"), _ask_git(root, "status", "--porcelain")
    return (NO_GIT, None) if commit is None else (commit, bool(differs))


def _ask_git(root: Path, *words: str) -> str | None:
    """What git says; None where it is not there or refuses."""
    try:
        # optional locks off: looking must not write
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *words], capture_output=True, text=True, timeout=10,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
