"""Results of the preset test script as JUnit XML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from .results import CaseResult, Status, TestResult

_ELEMENT: dict[Status, str] = {"FAIL": "failure", "ERROR": "error", "TIMEOUT": "error", "SKIP": "skipped"}
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _clean(text: str) -> str:
    return _NOT_XML.sub("?", text)


def _properties(result: TestResult) -> Iterator[tuple[str, str]]:
    """Yield the mode, the requirements, the machine and the versions."""
    yield "mode", result.mode
    for name, required in result.requirements.items():
        yield f"required {name}", required
    if result.host is not None:
        yield "system", result.host.system
        yield "processor", result.host.processor
        yield "cores", str(result.host.cores)
        yield "memory", str(result.host.memory)
    for package, version in result.versions.items():
        yield f"version {package}", version


def _properties_of(case: CaseResult) -> Iterator[tuple[str, str]]:
    """Yield the peak memory of a case, and its numbers, each with what is required of it."""
    if case.peak_memory:
        yield "peak_memory", str(case.peak_memory)
    for number in case.numbers:
        value = "none" if number.value is None else f"{number.value:.6g}"
        yield number.name, f"{value}, required {number.required}" if number.required else value


def junit(result: TestResult) -> bytes:
    """Return a result as JUnit XML, in UTF-8; a TIMEOUT is an error there."""
    counts = dict.fromkeys(("failure", "error", "skipped"), 0)
    suite = ElementTree.Element("testsuite", name=result.name, time=f"{result.seconds:.3f}")
    suite.attrib |= {"timestamp": result.date.removesuffix("Z")}  # JUnit's times have no zone
    if result.host is not None:
        suite.attrib |= {"hostname": result.host.name}
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in _properties(result):
        ElementTree.SubElement(properties, "property", name=name, value=_clean(value))
    for case in result.cases:
        added = ElementTree.SubElement(
            suite,
            "testcase",
            classname=f"{result.name}.{result.mode}",
            name=case.name,
            time=f"{case.seconds:.3f}",
        )
        if own := [*_properties_of(case)]:
            properties = ElementTree.SubElement(added, "properties")
            for name, value in own:
                ElementTree.SubElement(properties, "property", name=_clean(name), value=_clean(value))
        if case.status != "PASS":
            kind = _ELEMENT[case.status]
            counts[kind] += 1
            ElementTree.SubElement(added, kind, type=case.status, message=_clean(case.message))
        if case.log:
            ElementTree.SubElement(added, "system-out").text = _clean(case.log)
    suite.attrib |= {
        "tests": str(len(result.cases)),
        "failures": str(counts["failure"]),
        "errors": str(counts["error"]),
        "skipped": str(counts["skipped"]),
    }
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    text: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return text + b"\n"
