"""`saga graph`: draw a definition, or a saga as it stands."""

from __future__ import annotations

import asyncio
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saga_orchestrator.cli.apps import definition_named
from saga_orchestrator.cli.options import (
    AppDirOption,
    JsonOption,
    StoreOption,
    client,
    settings_of,
)
from saga_orchestrator.cli.terminal import emit, emit_json, is_utf8, note
from saga_orchestrator.core.ids import is_saga_id
from saga_orchestrator.core.plan import compile_plan
from saga_orchestrator.graph import (
    Picture,
    draw_mermaid,
    draw_svg,
    draw_text,
    graph_document,
    in_ascii,
    picture_of_plan,
    picture_of_saga,
)

if TYPE_CHECKING:
    from saga_orchestrator.settings import Settings


class Format(StrEnum):
    """What a picture can be drawn as."""

    TEXT = "text"
    MERMAID = "mermaid"
    SVG = "svg"


def graph(
    target: Annotated[
        str,
        typer.Argument(
            metavar="DEFINITION|ID",
            help="MODULE:ATTR, MODULE where it has one, a name with --app, or a saga.",
            show_default=False,
        ),
    ],
    *,
    output_format: Annotated[
        Format | None,
        typer.Option("--format", help="By default text.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="Write here, not to stdout."),
    ] = None,
    app: Annotated[
        list[str] | None,
        typer.Option(
            "--app",
            metavar="MODULE",
            help="Where to look for a name; may be repeated.",
            show_default=False,
        ),
    ] = None,
    store: StoreOption = None,
    app_dir: AppDirOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Draw the steps of a definition, or of a saga as they stand.

    A saga also shows its state, why it turned back, and in which order its
    steps were done and undone. The SVG needs nothing else to be shown; the
    Mermaid source goes into a Markdown file.

    The glyphs: ● a step of a definition, ○ pending or to be undone, ► started,
    ✓ completed, ✗ failed, » skipped, ↺ being undone, or to be tried again,
    ↩ undone, or the undo that there is, - an undo that is not needed, ! an undo
    that gave up, or residuals: effects that may stand.

    Example:
        saga graph handlers.orders:order --format svg --output order.svg
    """
    if as_json and output_format is not None:
        raise typer.BadParameter("--json is a format of its own; leave out --format")
    if is_saga_id(target):
        picture = asyncio.run(_picture_of(settings_of(store=store), target))
    else:
        definition = definition_named(target, app or [], app_dir)
        picture = picture_of_plan(compile_plan(definition))
    if output is not None:
        _write(output, _file_content(picture, output_format, as_json=as_json))
    elif as_json:
        emit_json(graph_document(picture))
    elif output_format in (None, Format.TEXT):
        lines = draw_text(picture)
        emit(lines if is_utf8(sys.stdout) else in_ascii(lines))
    else:
        typer.echo(_file_content(picture, output_format, as_json=False), nl=False)


async def _picture_of(settings: Settings, saga_id: str) -> Picture:
    async with client(settings) as manager:
        record = await manager.record(saga_id)
    return picture_of_saga(record.saga, record.history)


def _file_content(
    picture: Picture, output_format: Format | None, *, as_json: bool
) -> str:
    if as_json:
        document = graph_document(picture)
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    match output_format:
        case Format.SVG:
            return draw_svg(picture)
        case Format.MERMAID:
            return draw_mermaid(picture)
        case _:
            return "\n".join(draw_text(picture)) + "\n"


def _write(file: Path, content: str) -> None:
    try:
        file.write_text(content, encoding="utf-8", newline="\n")
    except OSError as error:
        reason = error.strerror or error
        raise typer.BadParameter(f"--output: {file}: {reason}") from error
    note(f"wrote {file}")
