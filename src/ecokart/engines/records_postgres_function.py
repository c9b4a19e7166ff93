"""The function in the database that applies a group of commits, made from the tables' declarations.

One call is one round trip and one transaction. It goes like this (docs/decisions/0009):

1. **Lock** every record of the group, table by table and key by key, whether it exists or not: what is there
   is locked, what is missing is inserted (a new record with its content, anything else as a placeholder).
   Everybody takes locks in this one order, so nobody can wait for anybody in a circle.
2. **Apply** all writes, table by table, with their conditions, and count the records that were touched. If
   they are as many as there are slots, every condition held: that is nearly always so.
3. Otherwise take that back, keep the locks, **evaluate** commit by commit which ones hold, and apply those.
4. Note in the lane's row how it ended, for whoever loses the connection before the answer.

A slot is a record of the group and what becomes of it. No two commits of a group write the same record, except
that several may adjust one: they share its slot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from ecokart.engines.records_postgres_sql import LANES, VERSIONS, Statements, quoted

# What becomes of a slot; bits, so that the kinds of a table's slots make one mask.
PUT_ABSENT, PUT_VERSION, PUT_ANY = 1, 2, 4
DELETE_VERSION, DELETE_ANY = 8, 16
CHECK_VERSION, CHECK_ABSENT = 32, 64
ADJUST = 128
# Where step 1 inserts what is missing for good, or may have to; the others fail without a record.
MAKING = PUT_ABSENT | PUT_ANY | DELETE_ANY | CHECK_ABSENT
DELETING = DELETE_VERSION | DELETE_ANY | CHECK_ABSENT

# The lowest bits of a commit's outcome say why it failed, those above which of its writes did.
EXISTS, GONE, CHANGED, FLOOR = 1, 2, 3, 4
OUTCOME_BITS = 3

LOCK_SECONDS = 4

PARAMETERS = (
    "this_lane uuid, this_turn bigint, moment bigint,"
    # Each table: its number, its first and last slot, its kinds, how many slots it may have to insert.
    " tables int[], froms int[], tos int[], masks int[], makes int[],"
    # Each slot: where its columns begin among the texts and numbers of all (null: it puts none).
    " keys text[], kinds int[], expected bigint[], bodies bytea[], texts_at int[], numbers_at int[],"
    " texts text[], numbers bigint[],"
    # For evaluating: each commit's last write, each write's slot, what each adjust adds to the counters.
    " ends int[], slots int[], amounts bigint[]"
)

# Plans that go by the keys whatever a table's size, made once; they must also hold their order.
SETTINGS = {
    "search_path": "pg_catalog",
    "lock_timeout": f"'{LOCK_SECONDS}s'",
    "plan_cache_mode": "force_generic_plan",
    **dict.fromkeys(["enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit"], "off"),
}


class CommitFunction:
    """The text of the function, and of its call. Its name tells the declarations it was made from, so that
    two releases of the shop can work on one database."""

    def __init__(self, schema: str, tables: Sequence[Statements]) -> None:
        body = _body(quoted(schema), tables)
        self.name = f"ecokart_commit_{hashlib.sha256(body.encode()).hexdigest()[:16]}"
        place = f"{quoted(schema)}.{self.name}"
        self.create = f"CREATE FUNCTION {place}({PARAMETERS}) RETURNS int[]\n{body}"
        marks = ", ".join([f"${number}" for number in range(1, PARAMETERS.count(",") + 2)])
        self.call = f"SELECT {place}({marks})"


def _body(schema: str, tables: Sequence[Statements]) -> str:
    def each(part: Callable[[Statements], str]) -> str:
        cases = "".join([f"\n    WHEN {n} THEN{part(one)}" for n, one in enumerate(tables)])
        return f"CASE tables[b]{cases}\n    END CASE;" if tables else "NULL;"

    settings = "".join([f"\nSET {name} = {value}" for name, value in SETTINGS.items()])
    code = _CODE.format(
        lock=each(_lock),
        apply=each(_apply),
        read=each(_read),
        versions=f"{schema}.{VERSIONS}",
        lanes=f"{schema}.{LANES}",
    )
    return f"LANGUAGE plpgsql{settings}\nAS $code$\n{code}\n$code$"


_CODE = """
#variable_conflict use_variable
DECLARE
  fresh bigint := nextval('{versions}');
  live boolean[] := array_fill(true, ARRAY[cardinality(keys)]);
  made int[] := '{{}}';
  outcomes int[];
  touched bigint;
  n bigint;
  a int;
  z int;
  -- For evaluating: the version of each slot's record (0: none), and how far its counters are above their floors.
  seen record;
  versions bigint[] := array_fill(0::bigint, ARRAY[cardinality(keys)]);
  rooms bigint[] := '{{}}';
  rooms_at int[] := array_fill(0, ARRAY[cardinality(keys)]);
  widths int[] := array_fill(0, ARRAY[cardinality(keys)]);
  own int;
  first int := 1;
  amount_at int := 0;
  amounts_from int;
  outcome int;
BEGIN
  FOR b IN 1 .. cardinality(tables) LOOP
    a := froms[b]; z := tos[b];
    {lock}
    made := made || n::int;
  END LOOP;

  FOR attempt IN 1 .. 2 LOOP
    BEGIN
      touched := 0;
      FOR b IN 1 .. cardinality(tables) LOOP
        a := froms[b]; z := tos[b]; touched := touched + made[b];
        {apply}
      END LOOP;
      EXIT WHEN attempt = 2 OR touched = cardinality(keys);
      RAISE SQLSTATE 'EK001';
    EXCEPTION WHEN SQLSTATE 'EK001' THEN
      NULL;
    END;

    FOR b IN 1 .. cardinality(tables) LOOP
      a := froms[b]; z := tos[b];
      {read}
    END LOOP;
    outcomes := '{{}}';
    FOR slot IN 1 .. cardinality(keys) LOOP
      live[slot] := kinds[slot] <> 128;
      IF NOT live[slot] THEN
        FOR c IN 1 .. widths[slot] LOOP
          numbers[numbers_at[slot] + c] := 0;
          numbers[numbers_at[slot] + widths[slot] + c] := NULL;
        END LOOP;
      END IF;
    END LOOP;
    FOR commit_number IN 1 .. cardinality(ends) LOOP
      outcome := 0; amounts_from := amount_at;
      FOR w IN first .. ends[commit_number] LOOP
        own := slots[w];
        IF kinds[own] IN (1, 64) THEN
          IF versions[own] <> 0 THEN outcome := 1; END IF;
        ELSIF kinds[own] NOT IN (4, 16) THEN
          IF versions[own] = 0 THEN outcome := 2;
          ELSIF kinds[own] <> 128 THEN
            IF versions[own] <> expected[own] THEN outcome := 3; END IF;
          ELSE
            FOR c IN 1 .. widths[own] LOOP
              IF rooms[rooms_at[own] + c] + amounts[amount_at + c] < 0 THEN outcome := 4; END IF;
            END LOOP;
          END IF;
        END IF;
        IF outcome > 0 THEN
          outcome := (w - first) * 8 + outcome;
          EXIT;
        END IF;
        amount_at := amount_at + widths[own];
      END LOOP;

      amount_at := amounts_from;
      FOR w IN first .. ends[commit_number] LOOP
        own := slots[w];
        IF kinds[own] <> 128 THEN
          live[own] := outcome = 0;
        ELSIF outcome = 0 THEN
          live[own] := true;
          FOR c IN 1 .. widths[own] LOOP
            rooms[rooms_at[own] + c] := rooms[rooms_at[own] + c] + coalesce(amounts[amount_at + c], 0);
            numbers[numbers_at[own] + c] := numbers[numbers_at[own] + c] + coalesce(amounts[amount_at + c], 0);
          END LOOP;
        END IF;
        amount_at := amount_at + widths[own];
      END LOOP;
      outcomes := outcomes || outcome;
      first := ends[commit_number] + 1;
    END LOOP;
  END LOOP;

  INSERT INTO {lanes} AS l (lane, turn, outcomes, ended) VALUES (this_lane, this_turn, outcomes, now())
  ON CONFLICT (lane) DO UPDATE SET turn = excluded.turn, outcomes = excluded.outcomes, ended = excluded.ended
  WHERE l.turn = excluded.turn - 1;
  IF NOT FOUND THEN
    RAISE SQLSTATE 'EK002' USING MESSAGE = 'this group was given up';
  END IF;
  RETURN outcomes;
END
"""


def _lock(table: Statements) -> str:
    columns = "".join([f', "{c}"' for c in table.table.columns])
    values = "".join([f", {value}" for value in _values(table)])
    return f"""
      WITH made AS (
        INSERT INTO {table.name} AS t (key, version, shape, body{columns})
        SELECT keys[s], fresh, CASE WHEN kinds[s] & {MAKING} > 0 THEN {table.table.shape} ELSE 0 END,
          coalesce(bodies[s], ''){values}
        FROM generate_series(a, z) AS s
        ON CONFLICT (key) DO UPDATE SET shape = 0 WHERE false
        RETURNING t.shape
      ) SELECT count(*) FILTER (WHERE made.shape > 0) INTO n FROM made;"""


def _values(table: Statements) -> list[str]:
    """What a put gives each column; without a put it is null."""
    texts, numbers = 0, 0
    values = []
    for is_text in table.layout:
        if is_text:
            texts += 1
            values.append(f"texts[texts_at[s] + {texts}]")
        else:
            numbers += 1
            values.append(f"numbers[numbers_at[s] + {numbers}]")
    return values


def _apply(table: Statements) -> str:
    return f"""
      IF attempt = 2 THEN
        DELETE FROM {table.name} AS t USING generate_series(a, z) AS s
        WHERE NOT live[s] AND t.key = keys[s] AND t.version = fresh;
      END IF;{_replace(table)}{_delete(table)}{_check(table)}{_adjust(table)}"""


def _replace(table: Statements) -> str:
    pairs = zip(table.table.columns, _values(table), strict=True)
    columns = "".join([f', "{column}" = {value}' for column, value in pairs])
    needed, ended = f"masks[b] & {PUT_VERSION | PUT_ANY} > 0", ""
    if table.table.expires:
        needed += " OR made[b] < makes[b]"
        ended = f" OR kinds[s] = {PUT_ABSENT} AND {_over(table)}"
    return f"""
      IF {needed} THEN
        UPDATE {table.name} AS t SET version = fresh, shape = {table.table.shape}, body = bodies[s]{columns}
        FROM generate_series(a, z) AS s
        WHERE live[s] AND t.key = keys[s] AND t.version <> fresh AND (kinds[s] = {PUT_ANY}{ended}
          OR kinds[s] = {PUT_VERSION} AND t.version = expected[s]{_alive(table)});
        GET DIAGNOSTICS n = ROW_COUNT; touched := touched + n;
      END IF;"""


def _delete(table: Statements) -> str:
    """Placeholders go too; they were counted when they were made."""
    absent = "t.version = fresh" + (f" OR {_over(table)}" if table.table.expires else "")
    return f"""
      IF masks[b] & {DELETING} > 0 THEN
        WITH gone AS (
          DELETE FROM {table.name} AS t USING generate_series(a, z) AS s
          WHERE live[s] AND t.key = keys[s] AND (kinds[s] = {DELETE_ANY}
            OR kinds[s] = {DELETE_VERSION} AND t.version = expected[s]{_alive(table)}
            OR kinds[s] = {CHECK_ABSENT} AND ({absent}))
          RETURNING t.version
        ) SELECT count(*) FILTER (WHERE gone.version <> fresh) INTO n FROM gone;
        touched := touched + n;
      END IF;"""


def _check(table: Statements) -> str:
    return f"""
      IF masks[b] & {CHECK_VERSION} > 0 THEN
        SELECT count(*) INTO n FROM generate_series(a, z) AS s JOIN {table.name} AS t ON t.key = keys[s]
        WHERE live[s] AND kinds[s] = {CHECK_VERSION} AND t.version = expected[s]{_alive(table)};
        touched := touched + n;
      END IF;"""


def _adjust(table: Statements) -> str:
    """An adjust slot's numbers: what to add to each counter, the sum of what is taken from each (null: nobody
    names it), and the touched time. If a counter can bear all that is taken, any order of the commits holds."""
    counters = table.table.counters
    if not counters:
        return ""
    width = len(counters)
    changes, floors = "", ""
    for number, (counter, floor) in enumerate(counters.items(), 1):
        changes += f', "{counter}" = t."{counter}" + numbers[numbers_at[s] + {number}]'
        taken = f"numbers[numbers_at[s] + {width + number}]"
        floors += f'\n          AND coalesce(t."{counter}" + {taken} >= {floor}, true)'
    if table.table.touched:
        changes += f', "{table.table.touched}" = numbers[numbers_at[s] + {2 * width + 1}]'
    return f"""
      IF masks[b] & {ADJUST} > 0 THEN
        UPDATE {table.name} AS t SET version = fresh{changes}
        FROM generate_series(a, z) AS s
        WHERE live[s] AND kinds[s] = {ADJUST} AND t.key = keys[s] AND t.version <> fresh{_alive(table)}{floors};
        GET DIAGNOSTICS n = ROW_COUNT; touched := touched + n;
      END IF;"""


def _read(table: Statements) -> str:
    counters = table.table.counters
    rooms = ", ".join([f't."{counter}" - {floor}' for counter, floor in counters.items()])
    return f"""
      FOR seen IN
        SELECT s.slot, t.version, ARRAY[{rooms}]::bigint[] AS rooms
        FROM generate_series(a, z) AS s(slot) JOIN {table.name} AS t ON t.key = keys[s.slot]
        WHERE t.version <> fresh{_alive(table)}
      LOOP
        versions[seen.slot] := seen.version;
        rooms_at[seen.slot] := cardinality(rooms);
        rooms := rooms || seen.rooms;
      END LOOP;
      FOR slot IN a .. z LOOP
        widths[slot] := CASE WHEN kinds[slot] = {ADJUST} THEN {len(counters)} ELSE 0 END;
      END LOOP;"""


def _alive(table: Statements) -> str:
    """A record that has expired isn't there any more, for no condition."""
    return f" AND NOT coalesce({_over(table)}, false)" if table.table.expires else ""


def _over(table: Statements) -> str:
    return f't."{table.table.expires}" <= moment'
