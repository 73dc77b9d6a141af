"""Whether code is valid: Python by ruff, SQL by sqlglot. Nothing is ever executed."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
import tempfile
import tokenize
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from prefect_datagen.engine.errors import ProcessorError

Verdict = dict[str, Any]

PYTHON_VERDICT = pa.struct(
    [
        ("is_valid", pa.bool_()),
        ("python_linter_score", pa.float64()),
        ("python_linter_severity", pa.string()),
        (
            "python_linter_messages",
            pa.list_(
                pa.struct(
                    [
                        ("type", pa.string()),
                        ("symbol", pa.string()),
                        ("line", pa.int64()),
                        ("column", pa.int64()),
                        ("message", pa.string()),
                    ]
                )
            ),
        ),
    ]
)
SQL_VERDICT = pa.struct([("is_valid", pa.bool_()), ("error_messages", pa.string())])

_RUFF_RULES = "E,F6,F7,F8,SIM,PLC,PLE,PLR,PLW"
_SEVERITIES = ("fatal", "error", "warning", "convention", "refactor")  # worst first
_SEVERITY_OF_RULE = {
    "E": "refactor",
    "F": "error",
    "SIM": "refactor",
    "PLC": "convention",
    "PLE": "error",
    "PLR": "refactor",
    "PLW": "warning",
}

# Things that sqlglot knows by name only. What else it falls back on, such as CREATE TABEL, is a mistake.
_UNPARSED_KINDS = re.compile(
    "AGGREGATE|CAST|COLLATION|DOMAIN|EVENT|EXTENSION|FUNCTION|LOGIN|OPERATOR|POLICY|PROC|PROCEDURE|PUBLICATION|ROLE|"
    "RULE|SERVER|STATISTICS|SUBSCRIPTION|SYNONYM|SYSTEM|TABLESPACE|TRIGGER|TYPE|USER"
)


def check_python(codes: Sequence[str]) -> list[Verdict]:
    """A verdict for each piece of code, in order, by one run of ruff.

    A piece is valid unless ruff finds something fatal (it does not parse) or an error (an undefined name, say). The
    score is pylint's, from 0 to 10: ten minus ten times (five times the errors, plus all else) by statement, here by
    logical line. `noqa` comments and configuration files count for nothing.

    Raises:
        ProcessorError: ruff cannot be run.
    """
    findings = _run_ruff(codes)
    return [_python_verdict(code, found) for code, found in zip(codes, findings, strict=True)]


def check_sql(codes: Sequence[str], dialect: str) -> list[Verdict]:
    """A verdict for each text, in order: valid where it is one or more statements that parse.

    `dialect` is a name of sqlglot's; empty for ANSI SQL.
    """
    verdicts = []
    for code in codes:
        problems = _sql_problems(code, dialect)
        verdicts.append({"is_valid": not problems, "error_messages": "\n".join(problems)})
    return verdicts


def _run_ruff(codes: Sequence[str]) -> list[list[Verdict]]:
    findings: list[list[Verdict]] = [[] for _ in codes]
    with tempfile.TemporaryDirectory(prefix="datagen-code-") as folder:
        for position, code in enumerate(codes):
            Path(folder, f"{position}.py").write_text(code, encoding="utf-8", newline="")
        command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--ignore-noqa", "--no-fix"]
        options = ["--select", _RUFF_RULES, "--target-version", "py313", "--output-format", "json", folder]
        ran = subprocess.run([*command, *options], capture_output=True, check=False)
    if ran.returncode not in (0, 1):
        raise ProcessorError(f"ruff failed: {ran.stderr.decode(errors='replace').strip()[-500:]}")
    for each in json.loads(ran.stdout):
        findings[int(Path(each["filename"]).stem)].append(_finding(each))
    return findings


def _finding(each: dict[str, Any]) -> Verdict:
    code = each["code"] or "invalid-syntax"
    group = code.rstrip("0123456789")
    severity = "fatal" if code == "invalid-syntax" or code.startswith("E9") else _SEVERITY_OF_RULE.get(group, "warning")
    return {
        "type": severity,
        "symbol": code,
        "line": each["location"]["row"],
        "column": each["location"]["column"],
        "message": each["message"],
    }


def _python_verdict(code: str, findings: list[Verdict]) -> Verdict:
    findings = sorted(findings, key=lambda each: (_SEVERITIES.index(each["type"]), each["line"], each["column"]))
    counts = Counter(each["type"] for each in findings)
    penalty = 5 * counts["error"] + counts["warning"] + counts["convention"] + counts["refactor"]
    score = 0.0 if counts["fatal"] else max(0.0, 10.0 - 10.0 * penalty / _logical_lines(code))
    return {
        "is_valid": not (counts["fatal"] or counts["error"]),
        "python_linter_score": score,
        "python_linter_severity": findings[0]["type"] if findings else "none",
        "python_linter_messages": findings,
    }


def _logical_lines(code: str) -> int:
    """Lines as Python counts them, at least one. Not from the syntax tree: making one warns about the user's code."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(code).readline))
    except (tokenize.TokenError, SyntaxError):
        return 1
    return max(1, sum(token.type == tokenize.NEWLINE for token in tokens))


def _sql_problems(code: str, dialect: str) -> list[str]:
    from sqlglot import ErrorLevel, exp, parse
    from sqlglot.errors import ParseError, TokenError

    # It warns of each statement that it falls back on; the verdict says that already.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        statements = [each for each in parse(code, read=dialect, error_level=ErrorLevel.RAISE) if each is not None]
    except ParseError as error:
        return [f"line {each['line']}, column {each['col']}: {each['description']}" for each in error.errors]
    except TokenError as error:
        return [str(error)]
    except RecursionError:
        return ["it is nested too deeply"]
    if not statements:
        return ["there is no SQL in it"]
    problems = []
    for statement in statements:
        if isinstance(statement, (exp.Condition, exp.Alias)) and not isinstance(statement, exp.Query):
            problems.append(f"{_shown(statement.sql())} is an expression, not a statement")
        elif isinstance(statement, exp.Command) and not _is_known_command(statement):
            problems.append(f"{_shown(statement.sql())} cannot be parsed")
    return problems


def _is_known_command(command: Any) -> bool:
    if command.name.upper() not in ("CREATE", "ALTER", "DROP"):
        return True
    words = str(command.args.get("expression") or "").upper().split()
    return any(_UNPARSED_KINDS.fullmatch(word) for word in words[:4])  # after OR REPLACE and the like


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
