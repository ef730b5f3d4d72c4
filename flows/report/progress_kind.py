"""How progress is shown, by name; the command line imports no more than this to print its help."""

from __future__ import annotations

from typing import Literal, TypeAlias

ProgressKind: TypeAlias = Literal["auto", "rich", "plain", "json", "none"]
