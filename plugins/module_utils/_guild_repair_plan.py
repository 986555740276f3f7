# Copyright: (c) 2026, DCM platform engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the difference between a schema and what its migrations make: what can be mended without touching data, and what people have to.

Pure. Names and definitions carry HERE in place of the guild's own name. Nothing is dropped with CASCADE but rights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from ansible_collections.dcm.platform.plugins.module_utils._guild_items import HERE, Facts, Items, Name
from psycopg import sql

OWNERS, SCHEMA_RIGHTS, DROP, ALTER, CREATE, RIGHTS = 0, 10, 20, 30, 40, 60
CONSTRAINT_ORDER = "puxcf"
OBJECTS = {"r": "TABLE", "p": "TABLE", "f": "FOREIGN TABLE", "v": "VIEW", "m": "MATERIALIZED VIEW", "S": "SEQUENCE", "c": "TYPE"}
DEFAULTS = {"r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS", "T": "TYPES", "n": "SCHEMAS"}
# What everybody has by itself where no default right is stored.
BUILT_IN = {"f": ["public", "EXECUTE", False], "T": ["public", "USAGE", False]}
COMMANDS = {"r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE", "*": "ALL"}
ENABLED = {"O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
RESTORE = "restore the guild from a backup or an archive"
OWNER = f"{HERE}_owner"


@dataclass(frozen=True)
class Step:
    """One statement that loses nothing; what it takes away is kept in words."""

    order: int
    what: str
    statement: str
    as_owner: bool = True
    removed: str = ""


@dataclass(frozen=True)
class ByHand:
    """What a repair leaves alone, and what a person can do."""

    what: str
    advice: str


@dataclass
class RepairPlan:
    steps: list[Step] = field(default_factory=list)
    by_hand: list[ByHand] = field(default_factory=list)


Found = Iterator[Step | ByHand]
Handler = Callable[[Name, Facts | None, Facts | None], Found]


def plan_repair(have: Items, want: Items) -> RepairPlan:
    made = RepairPlan()
    lost = {name[0] for kind, name in have.keys() ^ want.keys() if kind == "relation"}
    for kind, name in sorted(have.keys() | want.keys()):
        now, then = have.get((kind, name)), want.get((kind, name))
        if now == then or (kind != "relation" and _table_of(kind, name, now or then or {}) in lost):
            continue
        for found in HANDLERS[kind](name, now, then):
            (made.steps if isinstance(found, Step) else made.by_hand).append(found)  # type: ignore[arg-type]
    made.steps.sort(key=lambda step: step.order)
    return made


def _table_of(kind: str, name: Name, facts: Facts) -> str | None:
    """A thing of a table that is missing or extra goes with its table."""
    if kind == "index":
        return str(facts["table"])
    return name[0] if kind in ("column", "constraint", "sequence", "trigger", "policy") else None


def quoted(name: str) -> str:
    """Everybody is no name, and no role or thing can be called so."""
    return name if name == "public" else '"' + name.replace('"', '""') + '"'


def inside(name: str) -> str:
    return f"{HERE}.{quoted(name)}"


def _words(text: str) -> str:
    return text.replace(f"{HERE}.", "").replace(f"{HERE}_", "guild_<id>_").replace(HERE, "guild_<id>")


def _rights(
    order: int, target: str, have: Sequence[list[object]], want: Sequence[list[object]], prefix: str = "", column: str = ""
) -> Found:
    """First what is too much, with all that was passed on; then what is missing."""
    as_owner = not prefix or prefix == _defaults_of(OWNER)
    cascade = "" if prefix else " CASCADE"
    for who, right, may_pass in have:
        if [who, right, may_pass] not in want:
            text = f"{prefix}REVOKE {right}{column} ON {target} FROM {quoted(str(who))}{cascade}"
            yield Step(order, f"{_words(str(who))} has {right} on {_words(target)}", text, as_owner)
    for who, right, may_pass in want:
        kept = [who, right, may_pass] in have and not ([who, right, not may_pass] in have and may_pass is False)
        if not kept:
            passing = " WITH GRANT OPTION" if may_pass else ""
            text = f"{prefix}GRANT {right}{column} ON {target} TO {quoted(str(who))}{passing}"
            yield Step(order + 1, f"{_words(str(who))} lacks {right} on {_words(target)}", text, as_owner)


def _moved(have: Facts, want: Facts) -> list[list[object]]:
    """The rights there will be once the owner is the right one: the old one's become the new one's."""
    return [[want["owner"] if who == have["owner"] else who, *rest] for who, *rest in have["acl"]]


def _owner(kind: str, target: str, have: Facts, want: Facts, order: int = OWNERS) -> Found:
    if have["owner"] != want["owner"]:
        text = f"ALTER {kind} {target} OWNER TO {quoted(want['owner'])}"
        yield Step(order, f"{kind.lower()} {_words(target)} belongs to {_words(have['owner'])}", text, as_owner=False)


def _schema(_name: Name, have: Facts | None, want: Facts | None) -> Found:
    if have and want:
        yield from _owner("SCHEMA", HERE, have, want)
        yield from _rights(SCHEMA_RIGHTS, f"SCHEMA {HERE}", _moved(have, want), want["acl"])


def _role(name: Name, have: Facts | None, want: Facts | None) -> Found:
    if not have or not want:
        yield ByHand(f"role {_words(name[0])} is {'missing' if want else 'extra'}", RESTORE)
        return
    for word in (word for word in want if have[word] != want[word]):
        attribute = word if want[word] else f"NO{word}"
        yield Step(OWNERS, f"role {_words(name[0])} is not {attribute}", f"ALTER ROLE {quoted(name[0])} {attribute}", as_owner=False)


def _membership(name: Name, _have: Facts | None, want: Facts | None) -> Found:
    role, member = map(quoted, name)
    words = f"{_words(name[1])} is {'no ' if want else ''}member of {_words(name[0])}"
    yield Step(OWNERS, words, f"GRANT {role} TO {member}" if want else f"REVOKE {role} FROM {member} CASCADE", as_owner=False)


def _defaults_of(role: str) -> str:
    return f"ALTER DEFAULT PRIVILEGES FOR ROLE {quoted(role)} "


def _default_rights(name: Name, have: Facts | None, want: Facts | None) -> Found:
    role, kind, where = name
    prefix = _defaults_of(role) + (f"IN SCHEMA {HERE} " if where == "here" else "")
    shared = BUILT_IN.get(kind) if where == "everywhere" else None
    other = (want or have or {}).get("acl", [])
    built_in = [entry for entry in other if entry[0] == role and where == "everywhere"] + ([shared] if shared else [])
    yield from _rights(SCHEMA_RIGHTS + 2, DEFAULTS[kind], (have or {"acl": built_in})["acl"], (want or {"acl": built_in})["acl"], prefix)


def _relation(name: Name, have: Facts | None, want: Facts | None) -> Found:
    if not have or not want:
        yield from _whole_relation(name[0], have, want)
    elif (have["kind"], have["persistence"]) != (want["kind"], want["persistence"]) or "c" in have["kind"]:
        advice = f"ALTER TABLE {inside(name[0])} SET {'LOGGED' if want['persistence'] == 'p' else 'UNLOGGED'}"
        yield ByHand(f"relation {name[0]} is of another kind, or its changes are logged otherwise", advice)
    else:
        yield from _same_relation(name[0], have, want)


def _whole_relation(name: str, have: Facts | None, want: Facts | None) -> Found:
    facts = have or want or {}
    kind, target = OBJECTS[facts["kind"]], inside(name)
    if kind != "VIEW":
        advice = f"DROP {kind} {target} -- loses what it holds" if have else f"{RESTORE}: what it held is gone"
        yield ByHand(f"{kind.lower()} {name} is {'extra' if have else 'missing'}", advice)
    elif have:
        yield Step(DROP + 1, f"view {name} is extra", f"DROP VIEW {target}", removed=_view(name, have))
    elif want:
        yield Step(CREATE + 6, f"view {name} is missing", _view(name, want))


def _view(name: str, facts: Facts) -> str:
    options = f" WITH ({', '.join(facts['options'])})" if facts["options"] else ""
    return f"CREATE VIEW {inside(name)}{options} AS {facts['definition']}"


def _same_relation(name: str, have: Facts, want: Facts) -> Found:
    kind, target = OBJECTS[want["kind"]], inside(name)
    # Sequences of identity columns follow their table.
    yield from _owner(kind, target, have, want, OWNERS + (kind == "SEQUENCE"))
    if have["definition"] != want["definition"]:
        if kind != "VIEW":
            yield ByHand(f"{kind.lower()} {name} has another definition", f"make it again: {want['definition']}")
            return
        yield Step(DROP + 1, f"view {name} has another definition", f"DROP VIEW {target}", removed=_view(name, have))
        yield Step(CREATE + 6, f"view {name} has another definition", _view(name, want))
        return
    yield from _switches(name, have, want)
    yield from _options(f"ALTER {kind} {target}", f"{kind.lower()} {name}", have, want)
    on = "SEQUENCE" if kind == "SEQUENCE" else "TABLE"
    yield from _rights(RIGHTS, f"{on} {target}", _moved(have, want), want["acl"])


def _switches(name: str, have: Facts, want: Facts) -> Found:
    for key, on, off in (("row security", "ENABLE", "DISABLE"), ("forced row security", "FORCE", "NO FORCE")):
        if have[key] != want[key]:
            text = f"ALTER TABLE {inside(name)} {on if want[key] else off} ROW LEVEL SECURITY"
            yield Step(ALTER, f"{key} of {name} is {'off' if want[key] else 'on'}", text)


def _options(prefix: str, words: str, have: Facts, want: Facts) -> Found:
    before, after = (dict(option.split("=", 1) for option in facts["options"]) for facts in (have, want))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            action = f"SET ({quoted(key)} = {sql.Literal(after[key]).as_string(None)})" if key in after else f"RESET ({quoted(key)})"
            yield Step(ALTER, f"{words} has another option {key}", f"{prefix} {action}")


def _column(name: Name, have: Facts | None, want: Facts | None) -> Found:
    table, column = inside(name[0]), quoted(name[1])
    words = f"column {name[0]}.{name[1]}"
    if not have:
        made = (want or {})["type"]
        yield ByHand(f"{words} is missing", f"ALTER TABLE {table} ADD COLUMN {column} {made} -- then {RESTORE}: its values are gone")
        return
    if not want:
        yield ByHand(f"{words} is extra", f"ALTER TABLE {table} DROP COLUMN {column} -- loses its values")
        return
    fixed = ("type", "identity", "generated", "collation", "number")
    other = [key for key in fixed if have[key] != want[key]]
    if want["generated"] and have["default"] != want["default"]:
        other.append("expression")
    if other:
        said = ", ".join(f"{key} is {have.get(key, have['default'])!r}, not {want.get(key, want['default'])!r}" for key in other)
        advice = f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {want['type']}" if "type" in other else RESTORE
        yield ByHand(f"{words}: {said}", advice)
    else:
        yield from _same_column(table, column, words, have, want)
    yield from _rights(RIGHTS, f"TABLE {table}", have["acl"], want["acl"], column=f" ({column})")


def _same_column(table: str, column: str, words: str, have: Facts, want: Facts) -> Found:
    prefix = f"ALTER TABLE {table} ALTER COLUMN {column}"
    if have["default"] != want["default"]:
        text = f"{prefix} DROP DEFAULT" if want["default"] is None else f"{prefix} SET DEFAULT {want['default']}"
        yield Step(CREATE + 2, f"{words} has another default: {have['default']}", text)
    if have["not null"] != want["not null"]:
        action = "SET" if want["not null"] else "DROP"
        yield Step(CREATE + 2, f"{words} {'may' if want['not null'] else 'must not'} be null", f"{prefix} {action} NOT NULL")
    yield from _options(prefix, words, have, want)


def _index(name: Name, have: Facts | None, want: Facts | None) -> Found:
    words = f"index {name[0]} is {'missing' if not have else 'another one' if want else 'extra'}"
    if have:
        yield Step(DROP + 4, words, f"DROP INDEX {inside(name[0])}", removed=have["definition"])
    if want:
        yield Step(CREATE + 4, words, want["definition"])


def _constraint(name: Name, have: Facts | None, want: Facts | None) -> Found:
    table, words = inside(name[0]), f"constraint {name[1]} of {name[0]} is {'missing' if not have else 'another one' if want else 'extra'}"
    if have and want and have["type"] == want["type"] and have["definition"] == f"{want['definition']} NOT VALID":
        validate = f"ALTER TABLE {table} VALIDATE CONSTRAINT {quoted(name[1])}"
        yield Step(CREATE + 5, f"constraint {name[1]} of {name[0]} was never checked", validate)
        return
    if have:
        drop = f"ALTER TABLE {table} DROP CONSTRAINT {quoted(name[1])}"
        add = f"ALTER TABLE {table} ADD CONSTRAINT {quoted(name[1])} {have['definition']}"
        yield Step(DROP + (2 if have["type"] == "f" else 3), words, drop, removed=add)
    if want:
        order = CREATE + (5 if want["type"] == "f" else 3)
        yield Step(order, words, f"ALTER TABLE {table} ADD CONSTRAINT {quoted(name[1])} {want['definition']}")


def _sequence(name: Name, have: Facts | None, want: Facts | None) -> Found:
    if have and want:
        facts = dict(want)
        cycle = "CYCLE" if facts.pop("CYCLE") else "NO CYCLE"
        settings = " ".join(f"{word} {value}" for word, value in facts.items())
        yield Step(ALTER, f"sequence {name[0]} counts otherwise", f"ALTER SEQUENCE {inside(name[0])} {settings} {cycle}")


def _function(name: Name, have: Facts | None, want: Facts | None) -> Found:
    target = f"{inside(name[0])}({name[1]})"
    if not (have or want or {}).get("definition"):
        yield ByHand(f"aggregate {_words(target)} is missing, extra or another one", "see the migrations")
        return
    words = f"function {_words(target)} is {'missing' if not have else 'another one' if want else 'extra'}"
    changed = not (have and want) or have["definition"] != want["definition"]
    if have and (not want or (have["returns"], have["kind"]) != (want["returns"], want["kind"])):
        yield Step(DROP + 5, words, f"DROP ROUTINE {target}", removed=have["definition"])
    if want and changed:
        yield Step(CREATE, words, want["definition"], removed=have["definition"] if have else "")
    if have and want:
        yield from _owner("ROUTINE", target, have, want)
        yield from _rights(RIGHTS, f"ROUTINE {target}", _moved(have, want), want["acl"])


def _type(name: Name, have: Facts | None, want: Facts | None) -> Found:
    if not have or not want:
        advice = "see the migrations" if want else f"DROP TYPE {inside(name[0])}"
        yield ByHand(f"type {name[0]} is {'missing' if want else 'extra'}", advice)
        return
    if any(have[key] != want[key] for key in want if key not in ("owner", "acl")):
        yield ByHand(f"type {name[0]} is another one", "see the migrations: columns may hold values of it")
    yield from _owner("TYPE", inside(name[0]), have, want)
    yield from _rights(RIGHTS, f"TYPE {inside(name[0])}", _moved(have, want), want["acl"])


def _trigger(name: Name, have: Facts | None, want: Facts | None) -> Found:
    table, trigger = inside(name[0]), quoted(name[1])
    words = f"trigger {name[1]} of {name[0]} is {'missing' if not have else 'another one' if want else 'extra'}"
    changed = not (have and want) or have["definition"] != want["definition"]
    if have and changed:
        yield Step(DROP, words, f"DROP TRIGGER {trigger} ON {table}", removed=have["definition"])
    if want and changed:
        yield Step(CREATE + 7, words, want["definition"])
    if want and (want["enabled"] != "O" if changed or not have else want["enabled"] != have["enabled"]):
        yield Step(
            CREATE + 8,
            f"trigger {name[1]} of {name[0]} fires otherwise",
            f"ALTER TABLE {table} {ENABLED[want['enabled']]} TRIGGER {trigger}",
        )


def _policy(name: Name, have: Facts | None, want: Facts | None) -> Found:
    words = f"policy {name[1]} of {name[0]} is {'missing' if not have else 'another one' if want else 'extra'}"
    if have:
        yield Step(DROP, words, f"DROP POLICY {quoted(name[1])} ON {inside(name[0])}", removed=_policy_text(name, have))
    if want:
        yield Step(CREATE + 8, words, _policy_text(name, want))


def _policy_text(name: Name, facts: Facts) -> str:
    kind = "PERMISSIVE" if facts["permissive"] else "RESTRICTIVE"
    roles = ", ".join(quoted(role) for role in facts["roles"])
    text = f"CREATE POLICY {quoted(name[1])} ON {inside(name[0])} AS {kind} FOR {COMMANDS[facts['command']]} TO {roles}"
    text += f" USING ({facts['using']})" if facts["using"] else ""
    return text + (f" WITH CHECK ({facts['check']})" if facts["check"] else "")


HANDLERS: dict[str, Handler] = {
    "schema": _schema,
    "role": _role,
    "membership": _membership,
    "default rights": _default_rights,
    "relation": _relation,
    "column": _column,
    "index": _index,
    "constraint": _constraint,
    "sequence": _sequence,
    "function": _function,
    "type": _type,
    "trigger": _trigger,
    "policy": _policy,
}
