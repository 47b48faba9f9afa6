"""``make schema``: write what follows from the model of the configuration into the repository."""

from __future__ import annotations

import sys

from infra import reference, schema


def main() -> None:
    """Write the JSON Schema and the page's reference."""
    schema.FILE.write_text(schema.rendered())
    reference.PAGE.write_text(reference.page(reference.PAGE.read_text()))
    sys.stdout.write(f"Wrote {schema.FILE.name} and docs/{reference.PAGE.name}.\n")


if __name__ == "__main__":
    main()
