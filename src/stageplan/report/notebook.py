"""Plans and fronts as notebooks show them: a picture and a table."""

from __future__ import annotations

from ..front import Front
from ..plan import Plan
from ..result import Result
from . import front as fronts
from . import placement
from .page import asset, figure, numbers, paragraph
from .report import verdict
from .subject import Subject, front_document


def html_of_plan(plan: Plan | Result) -> str:
    """Show the placement and the stages of a plan."""
    subject = Subject.of(plan.plan if isinstance(plan, Result) else plan, plan.to_dict())
    document = subject.document
    table = numbers(placement.HEAD, placement.rows(document), placement.WORDS, open_=True)
    return _div(
        paragraph(
            f"{document.problem}: ${document.cost:,.2f}, ${document.price:,.4g}/h. {verdict(document)}", ""
        )
        + figure(placement.strip(subject))
        + table
    )


def html_of_front(front: Front) -> str:
    """Show a front and its points."""
    document = front_document(front.to_dict())
    picture = fronts.picture_of(document)
    table = numbers(fronts.HEAD, fronts.rows(document), open_=True)
    return _div(paragraph(str(front.problem), "") + ("" if picture is None else figure(picture)) + table)


def _div(content: str) -> str:
    return f'<div class="stageplan"><style>{asset("picture.css")}</style>{content}</div>'
