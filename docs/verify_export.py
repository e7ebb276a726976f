#!/usr/bin/env python3
"""Verify an export of Pilothouse's audit without Pilothouse. Needs Python 3.9 or newer and nothing else.

    python3 verify_export.py FILE [--key PUBLIC_KEY_IN_HEX]... [--checkpoint KEPT_CHECKPOINT.json]...

Exit code 0: the chain holds; 1: it does not, and the first entry that does not fit is named; 2: the file
cannot be looked at. Without --key, checkpoints are believed whoever signed them. --checkpoint names a
checkpoint that was kept outside (an object with statement, public_key and signature): the file must agree
with it. The encoding is described in docs/security.md, from which this program is written; it shares no
code with Pilothouse.
"""

import argparse
import csv
import hashlib
import io
import json
import sys

FIELDS = (
    "action actor_id actor_name after at before cluster_id manifest_digest object_id object_name "
    "object_type operation_id outcome reason source team_id"
).split()
CSV_COLUMNS = (
    "record sequence at actor_id actor_name source action object_type object_id object_name team_id "
    "cluster_id operation_id outcome reason before after manifest_digest digest previous hash statement "
    "public_key signature"
).split()
NUMBERS = {"sequence", "actor_id", "team_id", "cluster_id", "operation_id"}


class Broken(Exception):
    """The chain does not hold at an entry."""


# Ed25519 (RFC 8032, section 5.1), verification only -------------------------------------------------
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def point(data):
    """The curve point of 32 bytes in extended coordinates."""
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        raise ValueError("no point")
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        raise ValueError("no point")
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def add(a, b):
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    e = (y1 - x1) * (y2 - x2) % P
    f = (y1 + x1) * (y2 + x2) % P
    g = 2 * t1 * t2 * D % P
    h = 2 * z1 * z2 % P
    i, j, k, m = f - e, h - g, h + g, f + e
    return i * j % P, k * m % P, j * k % P, i * m % P


def times(number, of):
    found = (0, 1, 1, 0)
    while number:
        if number & 1:
            found = add(found, of)
        of = add(of, of)
        number >>= 1
    return found


BASE = point((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signed(key, signature, message):
    """Whether the signature over the message is the key's."""
    try:
        if len(key) != 32 or len(signature) != 64:
            return False
        a, r, s = point(key), point(signature[:32]), int.from_bytes(signature[32:], "little")
    except ValueError:
        return False
    if s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    left, right = times(s, BASE), add(r, times(k, a))
    return not (
        (left[0] * right[2] - right[0] * left[2]) % P or (left[1] * right[2] - right[1] * left[2]) % P
    )


# The encoding ---------------------------------------------------------------------------------------
def encode(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def digest(entry):
    return hashlib.sha256(encode({name: entry[name] for name in FIELDS})).hexdigest()


def chain(previous, sequence, entry_digest):
    return hashlib.sha256(f"{previous}:{sequence}:{entry_digest}".encode()).hexdigest()


# The file -------------------------------------------------------------------------------------------
def records(path):
    with open(path, "rb") as file:
        json_lines = file.read(1) == b"{"
        file.seek(0)
        if json_lines:
            for line in file:
                yield json.loads(line)
            return
        rows = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), strict=True)
        if next(rows, None) != CSV_COLUMNS:
            raise ValueError("this is no export")
        for row in rows:
            yield from_cells(row)


def from_cells(row):
    if len(row) != len(CSV_COLUMNS):
        raise ValueError("a row has other columns than the first one")
    cells = {name: text[1:] if text[:1] == "'" else text for name, text in zip(CSV_COLUMNS, row)}
    if cells["record"] == "checkpoint":
        return {name: cells[name] for name in ("record", "statement", "public_key", "signature")}
    if cells["record"] != "entry":
        return {**json.loads(cells["statement"]), "record": cells["record"]}
    entry = {name: cells[name] for name in CSV_COLUMNS[:-3]}
    for name in NUMBERS:
        entry[name] = int(entry[name]) if entry[name] else None
    for name in ("before", "after"):
        entry[name] = json.loads(entry[name]) if entry[name] else None
    return entry


class Verifier:
    def __init__(self, keys, kept):
        self.keys = keys
        self.kept = kept
        self.head = self.end = None
        self.previous, self.expected = "0" * 64, 1
        self.entries = self.known = self.pruned = self.checkpoints = self.signed_to = 0
        self.marks, self.closings, self.gaps = {}, {}, {}

    def fail(self, words, at=None):
        raise Broken(f"Entry {self.expected if at is None else at}: {words}.")

    def take(self, record):
        kind = record.get("record")
        if self.end is not None:
            self.fail("the file goes on behind its end")
        if (kind == "header") != (self.head is None):
            self.fail("the file does not begin with one header")
        if kind not in ("header", "checkpoint", "gap", "links", "entry", "end"):
            self.fail("a record of no known kind stands there")
        getattr(self, "ending" if kind == "end" else kind)(record)

    def header(self, record):
        if record["format"] != "pilothouse-audit" or record["version"] != 1:
            raise Broken("The file is no export of a version that is known here.")
        self.head = record
        self.previous, self.expected = record["before"], record["first"]
        if self.expected == 1 and self.previous != "0" * 64:
            self.fail("it follows something, and nothing can stand before it")
        for each in self.kept:
            self.checkpoint(each, kept=True)

    def go(self, sequence, hash_):
        if any(mark != hash_ for mark in self.marks.get(sequence, ())):
            self.fail("a signed checkpoint says that it had another hash", sequence)
        if sequence in self.marks:
            self.signed_to = sequence
        self.previous, self.expected = hash_, sequence + 1

    def checkpoint(self, record, kept=False):
        statement = record["statement"]
        said = json.loads(statement)
        key = record["public_key"]
        if self.keys and key not in self.keys:
            self.fail(f"its checkpoint is signed with another key, {key[:16]}…", said["sequence"])
        if not signed(bytes.fromhex(key), bytes.fromhex(record["signature"]), statement.encode()):
            self.fail("the signature of its checkpoint does not fit", said["sequence"])
        if said["installation"] != self.head["installation"]:
            self.fail("its checkpoint was signed for another installation", said["sequence"])
        self.checkpoints += 1
        if said["pruned"]:
            self.closings[said["sequence"]] = said["pruned"]
        if self.head["first"] <= said["sequence"] <= self.head["last"]:
            self.marks.setdefault(said["sequence"], set()).add(said["hash"])
        elif kept and said["sequence"] > self.head["last"] and not self.head["selection"]:
            self.fail(
                f"the file ends here, and the checkpoint kept outside is of entry {said['sequence']}",
                self.head["last"] + 1,
            )

    def gap(self, record):
        line = f"{record['first']} {record['last']} {record['before']} {record['after']}\n".encode()
        self.gaps.setdefault(record["signed_at"], [record["first"], hashlib.sha256()])[1].update(line)
        outside = record["last"] < self.head["first"] or record["first"] > self.head["last"]
        if outside or self.head["selection"]:
            return
        if record["first"] != self.expected or record["last"] < record["first"]:
            self.fail("it is missing")
        if record["before"] != self.previous:
            self.fail("what was deleted from here on did not follow the entry before it")
        self.pruned += record["last"] - record["first"] + 1
        self.go(record["last"], record["after"])

    def links(self, record):
        if record["first"] != self.expected:
            self.fail("it is missing")
        for each in record["digests"]:
            self.known += 1
            self.go(self.expected, chain(self.previous, self.expected, each))

    def entry(self, record):
        sequence = record["sequence"]
        if set(record) != {"record", "sequence", "digest", "previous", "hash", *FIELDS}:
            self.fail("its content was altered: it has other fields than an entry", sequence)
        if self.head["selection"] and (sequence > self.expected or not self.entries):
            self.previous, self.expected = record["previous"], sequence
        if sequence != self.expected:
            self.fail("it is missing, or out of its order")
        if record["previous"] != self.previous:
            self.fail("it does not continue the entry before it")
        if digest(record) != record["digest"]:
            self.fail("its content was altered")
        if chain(self.previous, sequence, record["digest"]) != record["hash"]:
            self.fail("its hash does not fit")
        self.entries += 1
        self.go(sequence, record["hash"])

    def ending(self, record):
        self.end = record

    def close(self):
        if self.head is None:
            self.fail("the file is no export: it has no header")
        if self.end is None:
            self.fail("the file is cut off before it")
        for signed_at, (first, hasher) in self.gaps.items():
            if self.closings.get(signed_at) != hasher.hexdigest():
                self.fail("it was deleted, and no signed checkpoint says that it might be", first)
        if self.end["entries"] != self.entries or self.end["last"] != self.head["last"]:
            self.fail(f"the file should hold {self.end['entries']} entries")
        if self.head["selection"]:
            return
        if self.expected != self.head["last"] + 1 or self.end["hash"] != self.previous:
            self.fail("the file's end does not fit")


def main():
    parser = argparse.ArgumentParser(description="Verify an export of Pilothouse's audit.")
    parser.add_argument("file")
    parser.add_argument("--key", action="append", default=[], help="believe this public key (64 hex digits)")
    parser.add_argument(
        "--checkpoint", action="append", default=[], help="a checkpoint that was kept outside"
    )
    options = parser.parse_args()
    try:
        kept = []
        for path in options.checkpoint:
            with open(path, encoding="utf-8") as file:
                kept.append(json.load(file))
        verifier = Verifier(set(options.key), kept)
        try:
            for record in records(options.file):
                verifier.take(record)
            verifier.close()
        except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
            raise Broken(f"Entry {verifier.expected}: the file is damaged there ({error}).") from error
    except Broken as broken:
        print(broken)
        return 1
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    said = f"{verifier.entries:,} entries"
    if verifier.known:
        said += f", {verifier.known:,} more by their digest"
    if verifier.pruned:
        said += f", {verifier.pruned:,} deleted by retention"
    print(f"The chain holds up to entry {verifier.expected - 1:,}: {said}.")
    if verifier.head["selection"]:
        print("The file is a selection: what stands between its entries is not in it.")
    print(f"Signatures that fit: {verifier.checkpoints}; the last one covers entry {verifier.signed_to:,}.")
    if not options.key and verifier.checkpoints:
        print("Nobody said whose they must be: give --key.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
