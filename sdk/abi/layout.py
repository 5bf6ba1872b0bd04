"""The layout of the ABI as a list: every constant, type, function and struct of sdk/include, with size and offset of each field.

Read from the headers by way of a compiler's debug information; kept in layout.txt and, for each release, in released/MAJOR.MINOR.txt.
"""
import collections
import dataclasses
import os
import pathlib
import re
import subprocess
import tempfile

FOLDER = pathlib.Path(__file__).resolve().parent
INCLUDE = FOLDER.parent / "include"
# They begin with struct_size and yet may not grow: they lie in arrays, which a plugin walks in steps of its own sizeof.
ARRAY_ELEMENTS = {"th_source_info", "th_state_info"}
FIXED_WIDTH = {"char", "double", "float"}  # the base types that headers may name themselves; of others only typedefs of stdint.h


class LayoutError(Exception):
    pass


@dataclasses.dataclass(frozen=True)
class Field:
    name: str
    offset: int
    size: int
    type: str


@dataclasses.dataclass
class Struct:
    name: str
    header: str
    size: int
    alignment: int
    growth: str  # "grows": at its end; "fixed"
    fields: list


@dataclasses.dataclass
class Layout:
    constants: dict = dataclasses.field(default_factory=dict)  # name to value as written
    types: dict = dataclasses.field(default_factory=dict)  # typedefs that are not structs
    functions: dict = dataclasses.field(default_factory=dict)
    structs: dict = dataclasses.field(default_factory=dict)
    headers: dict = dataclasses.field(default_factory=dict)  # header to its names, in order

    @property
    def version(self):
        return f"{self.constants['TRAINHOST_ABI_MAJOR']}.{self.constants['TRAINHOST_ABI_MINOR']}"


# --- from the headers -------------------------------------------------------------------------------------------------------------

def c_headers(include):
    """The C headers, status.h and those that others build on first."""
    headers = [path.relative_to(include / "trainhost").as_posix() for path in (include / "trainhost").rglob("*.h")]
    first = ["status.h", "tensor.h", "parameter.h", "host.h", "plugin.h"]
    return sorted(headers, key=lambda header: (first.index(header) if header in first else len(first), "kinds/" not in header, header))


def includes(headers):
    return "".join(f"#include <trainhost/{header}>\n" for header in headers)


def read_headers(include=INCLUDE, compiler="gcc"):
    headers = c_headers(include)
    text = {header: _without_comments((include / "trainhost" / header).read_text()) for header in headers}
    functions = re.findall(r"^TRAINHOST_EXPORT .*?\b(\w+)\(", "".join(text.values()), re.M)
    # A declaration alone leaves no trace.
    pointers = "".join(f"__typeof__(&{function}) pointer_to_{function};\n" for function in functions)
    types = _Types(_debug_entries(includes(headers) + pointers, include, compiler))
    layout = Layout()
    for header in headers:
        names = layout.headers.setdefault(header, [])
        for found in re.finditer(r"^#define (T(?:H|RAINHOST_ABI)_\w+) +(.+?) *$", text[header], re.M):
            layout.constants[found[1]] = found[2]
            names.append(found[1])
        declared = r"\bstruct (th_\w+) \{|^typedef [^{;]*?\b(th_\w+)(?:;|\)\()|^TRAINHOST_EXPORT .*?\b(\w+)\("
        for struct, alias, function in re.findall(declared, text[header], re.M):
            name = struct or alias or function
            names.append(name)
            if struct:
                layout.structs[name] = types.struct(name, header)
            elif function:
                layout.functions[name] = types.function(name)
            elif not types.is_struct(name):
                layout.types[name] = types.alias(name)
            else:
                names.pop()  # typedef struct th_x th_x
    unlisted = types.names() - layout.structs.keys() - layout.types.keys()
    if unlisted:
        names = ", ".join(sorted(unlisted))
        raise LayoutError(f"{names}: declare it as `struct NAME {{` or `typedef ... NAME;`, so that its header is found")
    return layout


def _without_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.S)


def _debug_entries(source, include, compiler):
    """The debug information entries of the source: offset to (tag, attributes, children)."""
    with tempfile.TemporaryDirectory() as scratch:
        compiled = pathlib.Path(scratch, "headers.o")
        done = subprocess.run([compiler, "-std=c11", "-g", "-gdwarf-4", "-fno-eliminate-unused-debug-types", f"-I{include}",
                               "-x", "c", "-c", "-", "-o", compiled], input=source, text=True, capture_output=True)
        if done.returncode:
            raise LayoutError(f"the headers do not compile:\n{done.stderr}")
        dump = subprocess.run(["readelf", "--debug-dump=info", compiled], text=True, capture_output=True, check=True,
                              env={**os.environ, "LC_ALL": "C"}).stdout
    entries, path = {}, []
    for line in dump.splitlines():
        if begin := re.match(r" <(\w+)><(\w+)>: Abbrev Number: \d+ \(DW_TAG_(\w+)\)", line):
            depth, entry = int(begin[1], 16), (begin[3], {}, [])
            entries[int(begin[2], 16)] = entry
            path[depth:] = [entry]
            if depth:
                path[depth - 1][2].append(entry)
        elif (attribute := re.match(r" +<\w+> +DW_AT_(\w+) *: (?:\(indirect string, offset: \w+\): )?(.*?)\s*$", line)) and path:
            path[-1][1][attribute[1]] = attribute[2]
    return entries


class _Types:
    """Types by name, as C writes them."""

    def __init__(self, entries):
        self.entries = entries
        self.named = {(tag, at["name"]): (tag, at, children) for tag, at, children in entries.values()
                      if "name" in at and (tag != "structure_type" or "declaration" not in at)}

    def names(self):
        """Of everything that the headers define."""
        return {name for tag, name in self.named if name.startswith("th_") and not (tag == "typedef" and self.is_struct(name))}

    def is_struct(self, name):
        target = self._target(self.named["typedef", name])
        return target is not None and target[0] == "structure_type"

    def alias(self, name):
        target = self._target(self.named["typedef", name])
        self._check_width(target, name)
        return self._text(target)

    def function(self, name):
        pointer = self._target(self.named["variable", f"pointer_to_{name}"])
        return self._text(self._target(pointer))

    def struct(self, name, header):
        entry = self.named["structure_type", name]
        fields = []
        for tag, at, _ in entry[2]:
            place = f"{name}.{at.get('name', '(without a name)')}"
            if tag != "member" or "bit_size" in at:
                raise LayoutError(f"{place}: a bit-field or a nested type; the ABI has plain fields of fixed-width types only")
            target = self._target((tag, at, []))
            self._check_width(target, place)
            fields.append(Field(at["name"], int(at["data_member_location"]), self._size(target), self._text(target)))
        grows = bool(fields) and fields[0].name == "struct_size" and name not in ARRAY_ELEMENTS
        growth = "grows" if grows else "fixed"
        return Struct(name, header, int(entry[1]["byte_size"]), self._alignment(entry), growth, fields)

    def _target(self, entry):
        offset = entry[1].get("type")
        return self.entries[int(re.match(r"<0x(\w+)>", offset)[1], 16)] if offset else None

    def _check_width(self, entry, place):
        if entry is None or entry[0] in ("typedef", "structure_type"):
            return
        tag, at, children = entry
        if tag in ("enumeration_type", "union_type") or (tag == "base_type" and at["name"] not in FIXED_WIDTH):
            raise LayoutError(f"{place}: `{at.get('name', tag)}` differs between compilers; use a fixed-width type")
        for each in (entry, *(child for child in children if child[0] == "formal_parameter")):
            self._check_width(self._target(each), place)

    def _length(self, entry):
        (_, at, _), = entry[2]
        return int(at["upper_bound"]) + 1

    def _size(self, entry):
        tag, at, _ = entry
        if tag == "array_type":
            return self._length(entry) * self._size(self._target(entry))
        return int(at["byte_size"]) if "byte_size" in at else self._size(self._target(entry))

    def _alignment(self, entry):
        tag, at, children = entry
        if "alignment" in at:
            return int(at["alignment"])
        if tag == "structure_type":
            return max(self._alignment(child) for child in children)
        return int(at["byte_size"]) if "byte_size" in at and tag != "array_type" else self._alignment(self._target(entry))

    def _text(self, entry, declarator=""):
        """The entry as C writes it around a declarator: `int (*)(int)`."""
        if entry is None:
            return f"void {declarator}".rstrip()
        tag, at, children = entry
        target = self._target(entry)
        if tag == "pointer_type":
            if target and target[0] in ("subroutine_type", "array_type"):
                return self._text(target, f"(*{declarator})")
            return self._text(target, f"*{declarator}")
        if tag == "const_type":
            if target and target[0] == "pointer_type":
                return self._text(target, f"const {declarator}".rstrip())
            return f"const {self._text(target, declarator)}"
        if tag == "array_type":
            return self._text(target, f"{declarator}[{self._length(entry)}]").replace(" [", "[")
        if tag == "subroutine_type":
            parameters = [self._text(self._target(child)) for child in children if child[0] == "formal_parameter"]
            return self._text(target, f"{declarator}({', '.join(parameters) or 'void'})")
        return f"{at['name']} {declarator}".rstrip()


# --- as a list --------------------------------------------------------------------------------------------------------------------

def to_text(layout):
    lines = ["# Generated by sdk/abi/update from sdk/include; checked by tests/abi. See sdk/docs/abi_policy.md.", f"abi {layout.version}"]
    for header, names in layout.headers.items():
        lines += ["", f"header {header}"]
        for name in names:
            if name in layout.constants:
                lines.append(f"constant {name} {layout.constants[name]}")
            elif name in layout.types:
                lines.append(f"type {name} {layout.types[name]}")
            elif name in layout.functions:
                lines.append(f"function {name} {layout.functions[name]}")
            else:
                struct = layout.structs[name]
                lines.append(f"struct {name} size {struct.size} alignment {struct.alignment} {struct.growth}")
                lines += [f"  {field.name} offset {field.offset} size {field.size} type {field.type}" for field in struct.fields]
    return "\n".join(lines) + "\n"


def from_text(text):
    layout = Layout()
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        name, _, value = rest.partition(" ")
        if word in ("", "#", "abi"):
            continue
        if line.startswith("  "):
            offset, size, kind = re.fullmatch(r"offset (\d+) size (\d+) type (.+)", rest).groups()
            struct.fields.append(Field(word, int(offset), int(size), kind))
            continue
        if word == "header":
            header, names = name, layout.headers.setdefault(name, [])
            continue
        names.append(name)
        if word == "struct":
            size, alignment, growth = re.fullmatch(r"size (\d+) alignment (\d+) (\w+)", value).groups()
            struct = layout.structs[name] = Struct(name, header, int(size), int(alignment), growth, [])
        else:
            {"constant": layout.constants, "type": layout.types, "function": layout.functions}[word][name] = value
    return layout


def committed(folder=FOLDER):
    return from_text((folder / "layout.txt").read_text())


def released(folder=FOLDER):
    """The lists of the released versions, the oldest first."""
    lists = [from_text(path.read_text()) for path in (folder / "released").glob("*.txt")]
    return sorted(lists, key=lambda layout: [int(number) for number in layout.version.split(".")])


# --- what may change --------------------------------------------------------------------------------------------------------------

def differences(listed, found):
    """What the headers have otherwise than the list; one line for each struct, field or name."""
    problems = []
    for what in ("constants", "types", "functions"):
        old, new = getattr(listed, what), getattr(found, what)
        problems += [_named_difference(name, old.get(name), new.get(name)) for name in {**old, **new} if old.get(name) != new.get(name)]
    for name in {**listed.structs, **found.structs}:
        old, new = listed.structs.get(name), found.structs.get(name)
        if old is None or new is None:
            problems.append(_named_difference(name, old and "a struct", new and "a struct"))
            continue
        problems += _broken_fields(old, new)
        problems += [f"{name}.{field.name}: is new" for field in new.fields if field.name not in {each.name for each in old.fields}]
        for what in ("size", "alignment", "growth"):
            if getattr(old, what) != getattr(new, what):
                problems.append(f"{name}: {what} was {getattr(old, what)}, is {getattr(new, what)}")
    return problems


def breaks(old, new):
    """What would break plugins built with `old`, a released list, in a host with `new`."""
    problems = []
    for what in ("constants", "types", "functions"):
        before, after = getattr(old, what), getattr(new, what)
        problems += [_named_difference(name, value, after.get(name)) for name, value in before.items()
                     if after.get(name) != value and name != "TRAINHOST_ABI_MINOR"]
    for name, struct in old.structs.items():
        problems += _struct_breaks(struct, new.structs.get(name))
    if old.version == new.version:
        problems += [f"{problem}; {old.version} is released, so raise TRAINHOST_ABI_MINOR" for problem in _additions(old, new)]
    return problems


def _named_difference(name, old, new):
    if new is None:
        return f"{name}: was deleted or renamed (it was {old})"
    return f"{name}: is new" if old is None else f"{name}: was {old}, is {new}"


def _broken_fields(old, new):
    fields = {field.name: field for field in new.fields}
    problems = []
    for field in old.fields:
        now = fields.get(field.name)
        place = f"{old.name}.{field.name}"
        if now is None:
            problems.append(f"{place}: was deleted or renamed")
            continue
        if now.offset != field.offset:
            problems.append(f"{place}: moved from offset {field.offset} to {now.offset}")
        if (now.size, now.type) != (field.size, field.type):
            problems.append(f"{place}: retyped from `{field.type}` to `{now.type}`")
    return problems


def _struct_breaks(old, new):
    if new is None:
        return [f"{old.name}: was deleted or renamed"]
    problems = _broken_fields(old, new)
    known = {field.name for field in old.fields}
    for field in (field for field in new.fields if field.name not in known):
        if old.growth == "fixed":
            problems.append(f"{old.name}.{field.name}: appended, but {old.name} may not grow: it is passed by value, embedded or in arrays")
        elif field.offset < old.size:  # also in the padding at the end: struct_size would not tell that it is there
            problems.append(f"{old.name}.{field.name}: inserted at offset {field.offset}, within the {old.size} bytes that are released; "
                            "fields are appended at the end")
    if new.alignment != old.alignment:
        problems.append(f"{old.name}: alignment was {old.alignment}, is {new.alignment}")
    if new.growth != old.growth:
        problems.append(f"{old.name}: was `{old.growth}`, is `{new.growth}`")
    return problems


def _additions(old, new):
    return [problem for problem in differences(old, new) if problem.endswith(": is new")]


# --- as code ----------------------------------------------------------------------------------------------------------------------

def assertions(layout):
    """A source for C11, C17 and C++20 that compiles only when the compiler at hand lays everything out as listed."""
    lines = [includes(layout.headers), "#include <stddef.h>", "#ifdef __cplusplus", "#include <string_view>", "#include <type_traits>",
             "#define SAME_TYPE(field_of, field, ...) std::is_same_v<decltype(field_of::field), __VA_ARGS__>",
             "#define SAME_TEXT(a, b) (std::string_view(a) == b)",
             "#else", "#define static_assert _Static_assert", "#define alignof _Alignof",
             "#define SAME_TYPE(field_of, field, ...) _Generic(&((field_of *)0)->field, __typeof__(__VA_ARGS__) *: 1, default: 0)",
             "#define SAME_TEXT(a, b) (sizeof(a) == sizeof(b))", "#endif"]
    check = lambda condition, message: lines.append(f'static_assert({condition}, "{message}");')
    for name, value in layout.constants.items():
        condition = f"SAME_TEXT({name}, {value})" if value.startswith('"') else f"{name} == {value}"
        check(condition, f"{name} is locked to {value}".replace('"', "'"))
    for struct in layout.structs.values():
        check(f"sizeof({struct.name}) == {struct.size}", f"the size of {struct.name} is locked to {struct.size}")
        check(f"alignof({struct.name}) == {struct.alignment}", f"the alignment of {struct.name} is locked to {struct.alignment}")
        for field in struct.fields:
            place = f"{struct.name}.{field.name}"
            check(f"offsetof({struct.name}, {field.name}) == {field.offset}", f"the offset of {place} is locked to {field.offset}")
            check(f"sizeof((({struct.name} *)0)->{field.name}) == {field.size}", f"the size of {place} is locked to {field.size}")
            check(f"SAME_TYPE({struct.name}, {field.name}, {field.type})", f"the type of {place} is locked to {field.type}")
    return "\n".join(lines) + "\n"


def witness(layout):
    """A library for abidiff: one exported function for each struct, and a pointer to each function."""
    functions = [f"void witness_of_{name}(const {name} *value);\nvoid witness_of_{name}(const {name} *value) {{ (void)value; }}"
                 for name in layout.structs]
    pointers = [f"__typeof__(&{name}) witness_of_{name};" for name in layout.functions]
    return includes(layout.headers) + "\n".join(functions + pointers) + "\n"


def build_witness(layout, library, include=INCLUDE, compiler="gcc"):
    subprocess.run([compiler, "-std=c11", "-g", "-gdwarf-4", "-O0", "-shared", "-fPIC", f"-I{include}", "-x", "c", "-", "-o", library],
                   input=witness(layout), text=True, check=True)


def write_witness(library, baseline):
    """What abidw says of the library, without anything of this machine."""
    subprocess.run(["abidw", "--no-architecture", "--no-corpus-path", "--no-comp-dir-path", "--no-show-locs", "--no-elf-needed",
                    "--drop-undefined-syms", "--type-id-style", "hash", "--out-file", baseline, library], check=True)
