"""Odd tables, and what Python's csv and pandas read of them: testdata/tiny/tables.json.

A list of objects: "text", "sep", and "rows", the records with the header first, if both read the same, each record as long as
the header; null if they differ, or one of them refuses the table. csv reads the text as the documentation wants it, with
newline=""; pandas with its defaults, but that all is text and no text is absent.

Python 3.11 or 3.13 (csv) and pandas 3.0.6."""
import csv
import io
import json
import pathlib
import random

import pandas

OUT = pathlib.Path(__file__).parent.parent / "tiny" / "tables.json"


def by_csv(text, sep):
    rows = [r for r in csv.reader(io.StringIO(text, newline=""), delimiter=sep) if r]
    if any(len(r) != len(rows[0]) for r in rows):
        raise ValueError("ragged")
    if text[:1] in "\r\n":
        raise ValueError("csv.DictReader takes a blank first line for the header")
    return rows


def by_pandas(text, sep):
    t = pandas.read_csv(io.BytesIO(text.encode()), sep=sep, dtype=str, keep_default_na=False)
    return [list(t.columns)] + [[v if isinstance(v, str) else None for v in r] for r in t.values.tolist()]


def read(text, sep):
    try:
        a, b = by_csv(text, sep), by_pandas(text, sep)
    except Exception:  # each library has its own kinds
        return None
    return a if a == b else None


def main():
    cases = []
    written = [
        'i0.jpg|"Big" sale sign', "i1.jpg|a dog", 'i2.jpg|the sign says "stop"', 'i3.jpg|6" pipe', 'i4.jpg|"a ""cat"""', 'i5.jpg|""', 'i6.jpg|"', 'i7.jpg|""""',
        'i8.jpg|"over\ntwo"', 'i9.jpg|"over\r\ntwo" and on', 'i10.jpg|"a|b"', 'i11.jpg| "x"', 'i12.jpg|"x" ', '"i13.jpg"x|y', 'i14.jpg|a"b"c"', 'i15.jpg|"a"b"c"',
        "i16.jpg", "i17.jpg|a|b", "i18.jpg|", "|x", " ", "\t", "", "  i19.jpg|x", 'i20.jpg|x\0y', "i21.jpg|caf\u00e9\u2028x", "i22.jpg|'x|y'", "i23.jpg|\\\"x",
        'i24.jpg|"never closed', "i25.jpg|NA", "i26.jpg|" + "long" * 40000, '"i27.jpg"|"' + "x" * 131072 + '"',
    ]
    for sep in ",\t":
        for end in "\n", "\r\n", "\r", "\n\n", "\r\r\n":
            for row in written:
                if len(row) > 1000 and end != "\n":
                    continue
                lines = ["path|title", "a.jpg|one", row, "b.jpg|two"]
                cases.append((end.join(lines).replace("|", sep) + end, sep))
        for row in written[:12]:  # as the last line, without an end
            cases.append(("path|title\n{}".format(row).replace("|", sep), sep))
    for text in ("\ufeffpath,title\na,b\n", '\ufeff"path","title"\na,b\n', "\npath,title\na,b\n", "path,title\n", "path,title", "path,title\n\n\n", "path,title\n \na,b\n",
                 "path,title\na,b,\nc,d,\n", "path,title\na\n", '"path\n","title"\na,b\n', 'path,"ti""tle"\na,b\n', 'path,title\n"a\nb,c\nd",e\n'):
        cases.append((text, ","))
    r = random.Random(13)
    for _ in range(700):
        sep = r.choice(",\t")
        body = "".join(r.choice(['"', '"', '"', sep, sep, "\n", "\n", "\r", "\r\n", " ", "a", "b", "\u00e9", '""', ",", "\t"]) for _ in range(r.randrange(2, 24)))
        cases.append(("p{}q\n".format(sep) + body, sep))
        # rows of two fields, which are more often well formed
        rows = [sep.join("".join(r.choice(['"', "a", " ", "\n", '""', sep, "b"]) for _ in range(r.randrange(6))) for _ in range(2)) for _ in range(3)]
        cases.append(("p{}q\n".format(sep) + "\n".join(rows) + "\n", sep))
    # Long fields are kept as their length: the reader is told what to repeat.
    found = []
    for text, sep in cases:
        rows = read(text.removeprefix("\ufeff"), sep)  # which csv would take for a part of the first name
        if len(text) > 1000:
            long = max(text.replace('"', sep).split(sep), key=len).strip()
            found.append({"long": [long[:4], len(long) // 4], "text": text.replace(long, "LONG"), "sep": sep, "rows": rows and [[v.replace(long, "LONG") for v in row] for row in rows]})
        else:
            found.append({"text": text, "sep": sep, "rows": rows})
    OUT.write_text("[\n" + ",\n".join(json.dumps(f) for f in found) + "\n]\n")
    print(len(found), "tables,", sum(f["rows"] is not None for f in found), "of which both read the same")


if __name__ == "__main__":
    main()
