"""``python -m saga_orchestrator`` is the ``saga`` command."""

from saga_orchestrator.cli.main import app

if __name__ == "__main__":
    app(prog_name="saga")
