#!/usr/bin/env python3
"""What was built makes a memory error hard to use: the ELF files say so themselves."""

import glob
import os
import re
import struct
import unittest

from harness import BINARY, REFERENCE_PLUGINS, main

BUILD = os.path.dirname(os.path.realpath(BINARY))

ET_DYN = 3
PT_DYNAMIC, PT_GNU_STACK, PT_GNU_RELRO = 2, 0x6474e551, 0x6474e552
DT_BIND_NOW, DT_FLAGS, DT_FLAGS_1 = 24, 30, 0x6ffffffb
DF_BIND_NOW, DF_1_NOW, DF_1_PIE = 8, 1, 0x08000000
# Of .note.gnu.property: the property, by machine, whose bit 0 is branch tracking.
BRANCHES = {62: 0xc0000002, 183: 0xc0000000}


class Elf:
    """As much of a 64-bit little-endian ELF file as is asked here."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        assert self.data[:6] == b"\x7fELF\x02\x01", path
        (self.type, self.machine, _, _, segments, sections, _, _, segment_size, segment_count, section_size,
         section_count, names) = struct.unpack_from("<HHIQQQIHHHHHH", self.data, 16)
        self.segments = [struct.unpack_from("<IIQQQQQQ", self.data, segments + i * segment_size)
                         for i in range(segment_count)]
        self.sections = [struct.unpack_from("<IIQQQQIIQQ", self.data, sections + i * section_size)
                         for i in range(section_count)]
        self.names = self.sections[names][4]

    def segment(self, kind):
        return next((segment for segment in self.segments if segment[0] == kind), None)

    def section(self, name):
        wanted = name.encode() + b"\0"
        for section in self.sections:
            if self.data.startswith(wanted, self.names + section[0]):
                return self.data[section[4]:section[4] + section[5]]
        return b""

    def dynamic(self):
        at, size = self.segment(PT_DYNAMIC)[2], self.segment(PT_DYNAMIC)[5]
        return dict(struct.iter_unpack("<qQ", self.data[at:at + size]))

    def tracks_branches(self):
        """Whether the property note has the bit."""
        note, at = self.section(".note.gnu.property"), 16
        while at + 12 <= len(note):
            kind, size, value = struct.unpack_from("<III", note, at)
            if kind == BRANCHES[self.machine]:
                return bool(value & 1)
            at += 8 + (size + 7) // 8 * 8
        return False


def configured(name):
    """What configure has put into the Makefile."""
    with open(os.path.join(BUILD, "Makefile"), encoding="utf-8") as makefile:
        return re.search(rf"(?m)^{name} = ?(.*)$", makefile.read())[1]


class Hardening(unittest.TestCase):
    def setUp(self):
        if not configured("HARDEN_CFLAGS"):
            self.skipTest("built with --disable-hardening")

    def check_linked(self, path):
        elf = Elf(path)
        dynamic = elf.dynamic()
        self.assertIsNotNone(elf.segment(PT_GNU_RELRO), f"{path}: RELRO")
        self.assertTrue(DT_BIND_NOW in dynamic or dynamic.get(DT_FLAGS, 0) & DF_BIND_NOW or
                        dynamic.get(DT_FLAGS_1, 0) & DF_1_NOW, f"{path}: its symbols are bound when it is loaded")
        self.assertFalse(elf.segment(PT_GNU_STACK)[1] & 1, f"{path}: the stack is not executable")
        for segment in elf.segments:
            self.assertNotEqual(segment[1] & 3, 3, f"{path}: no page is writable and executable")
        return elf

    def test_the_programs(self):
        for program in (BINARY, BINARY + "-front"):
            elf = self.check_linked(program)
            self.assertEqual(elf.type, ET_DYN)
            self.assertTrue(elf.dynamic().get(DT_FLAGS_1, 0) & DF_1_PIE, "PIE")
            self.assertIn(b"\0__stack_chk_fail", elf.section(".dynstr"))
            if configured("HARDEN_CPPFLAGS"):
                self.assertRegex(elf.section(".dynstr"), rb"\0__\w+_chk\0", "FORTIFY")

    def test_the_plugins(self):
        plugins = glob.glob(os.path.join(REFERENCE_PLUGINS, "*.so"))
        self.assertTrue(plugins)
        for path in plugins:
            self.check_linked(path)

    def test_each_object_tracks_branches(self):
        """What the C library brings is not ours: so the objects, not what is linked of them."""
        if not re.search("-fcf-protection|-mbranch-protection", configured("HARDEN_CFLAGS")):
            self.skipTest("this compiler or machine does not track branches")
        objects = [os.path.join(folder, file) for folder, _, files in os.walk(os.path.join(BUILD, "host"))
                   for file in files if file.endswith(".o")]
        self.assertTrue([path for path in objects if path.endswith("switch_asm.o")], objects)
        for path in objects:
            self.assertTrue(Elf(path).tracks_branches(), path)


if __name__ == "__main__":
    main()
