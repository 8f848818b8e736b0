"""Changes records of an archive that torch wrote, and keeps every other byte as torch wrote it, compression and all."""

import struct
import zipfile
import zlib

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")


def repack(src, dst, change):
    """Copies the file src to the file dst. change(name, data) gives the new data of a record, whose
    name is without the root folder; it leaves the record out if that is None. Changed records are stored.

    Source of the form: pytorch, caffe2/serialize/inline_container.cc: an extra field FB pads each record's data to a
    multiple of 64 bytes; sizes and checksum follow the data; the end is always zip64.
    """
    central, n = b"", 0
    with zipfile.ZipFile(src) as z, open(dst, "wb") as out:
        f = z.fp
        for r in z.infolist():
            f.seek(r.header_offset)
            head = LOCAL.unpack(f.read(LOCAL.size))
            assert r.flag_bits == 0x808, "sizes after the data"
            name = f.read(head[9])
            f.seek(head[10], 1)
            raw, crc, method = f.read(r.compress_size), r.CRC, r.compress_type
            data = z.read(r)
            new = change(r.filename.split("/", 1)[1], data)
            if new is None:
                continue
            if new != data:
                raw, crc, method = new, zlib.crc32(new), 0
            size, offset = len(new), out.tell()
            pad = -(offset + LOCAL.size + len(name) + 4) % 64
            out.write(LOCAL.pack(*head[:3], method, *head[4:9], len(name), 4 + pad) + name + b"FB" + struct.pack("<H", pad) + b"Z" * pad)
            out.write(raw + struct.pack("<4s3L", b"PK\x07\x08", crc, len(raw), size))
            central += CENTRAL.pack(b"PK\1\2", 0, r.extract_version, r.flag_bits, method, 0, 0, crc, len(raw), size, len(name), 0, 0, 0, 0, 0, offset) + name
            n += 1
        at = out.tell()
        out.write(central)
        out.write(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 0x31E, 45, 0, 0, n, n, len(central), at))
        out.write(struct.pack("<4sLQL", b"PK\6\7", 0, at + len(central), 1))
        out.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, n, n, len(central), at, 0))
