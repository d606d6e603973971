/**
 * Writes the generated code from schema/: `wire.fbs` and the layouts that one addon and its
 * TypeScript share (`fuse.fbs`, `core.fbs`, `engine.fbs`, `extent.fbs`, `intercept.fbs`), all fixed structs, become
 * offset tables for TypeScript and structs for C++, `data.fbs` (kept on disk) offset tables,
 * `limits.json` constants for both, and `control.fbs` (tables) FlatBuffers' own TypeScript. Fixed structs use the plain subset of FlatBuffers that
 * needs no compiler: enums, and structs of scalars and structs.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

interface Field {
  name: string;
  type: string;
  offset: number;
  comment: string;
}

interface Struct {
  name: string;
  fields: Field[];
  size: number;
  comment: string;
}

interface Enum {
  name: string;
  type: string;
  values: { name: string; value: number; comment: string }[];
}

interface Schema {
  structs: Struct[];
  enums: Enum[];
}

const scalars: Record<string, { size: number; cpp: string }> = {
  ubyte: { size: 1, cpp: 'uint8_t' },
  ushort: { size: 2, cpp: 'uint16_t' },
  uint: { size: 4, cpp: 'uint32_t' },
  int: { size: 4, cpp: 'int32_t' },
  ulong: { size: 8, cpp: 'uint64_t' },
  long: { size: 8, cpp: 'int64_t' },
  double: { size: 8, cpp: 'double' },
};

const notice = 'Generated from schema/ by `npm run generate`; do not edit.';

function layOut(name: string, comment: string, body: string, known: Struct[]): Struct {
  const fields: Field[] = [];
  let offset = 0;
  let align = 1;
  for (const line of body.matchAll(/^\s*(\w+)\s*:\s*(\w+)\s*;[^\S\n]*(?:\/\/\s*(.*))?$/gm)) {
    const [, fieldName, type, note] = line;
    if (fieldName === undefined || type === undefined) continue;
    const nested = known.find((s) => s.name === type);
    const size = scalars[type]?.size ?? nested?.size;
    if (size === undefined) throw new Error(`${name}.${fieldName}: unknown type ${type}`);
    const fieldAlign = nested ? 8 : size;
    if (offset % fieldAlign !== 0) {
      throw new Error(`${name}.${fieldName}: at ${offset}, not aligned to ${fieldAlign}`);
    }
    fields.push({ name: fieldName, type, offset, comment: note ?? '' });
    offset += size;
    align = Math.max(align, fieldAlign);
  }
  if (offset % 8 !== 0) throw new Error(`${name}: ${offset} bytes, not a multiple of 8`);
  return { name, fields, size: offset, comment };
}

function parse(text: string): Schema {
  const schema: Schema = { structs: [], enums: [] };
  const blocks =
    /^(enum|struct)\s+(\w+)(?:\s*:\s*(\w+))?\s*\{[^\S\n]*(?:\/\/\s*(.*))?\n([^}]*)\}/gm;
  for (const [, kind, name, type, comment, body] of text.matchAll(blocks)) {
    if (kind === undefined || name === undefined || body === undefined) continue;
    if (kind === 'struct') {
      schema.structs.push(layOut(name, comment ?? '', body, schema.structs));
      continue;
    }
    const values = [...body.matchAll(/^\s*(\w+)\s*=\s*(\d+),?[^\S\n]*(?:\/\/\s*(.*))?$/gm)];
    schema.enums.push({
      name,
      type: scalars[type ?? 'ubyte']!.cpp,
      values: values.map((v) => ({ name: v[1]!, value: Number(v[2]), comment: v[3] ?? '' })),
    });
  }
  return schema;
}

function docComment(comment: string, indent: string): string {
  return comment === '' ? '' : `${indent}/** ${comment} */\n`;
}

function typescriptStructs(schema: Schema): string {
  let out = `/** ${notice} Byte offsets of fixed structs; SIZE is a struct's length. */\n`;
  for (const e of schema.enums) {
    out += `\nexport const ${e.name} = {\n`;
    for (const v of e.values) out += `${docComment(v.comment, '  ')}  ${v.name}: ${v.value},\n`;
    out += `} as const;\n`;
  }
  for (const s of schema.structs) {
    out += `\n${docComment(s.comment, '')}export const ${s.name} = {\n  SIZE: ${s.size},\n`;
    for (const f of s.fields) {
      const type = f.comment === '' ? f.type : `${f.type}: ${f.comment}`;
      out += `${docComment(type, '  ')}  ${f.name}: ${f.offset},\n`;
    }
    out += `} as const;\n`;
  }
  return out;
}

function snake(name: string): string {
  return name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase();
}

function cppConstant(name: string): string {
  return `k${name[0]!.toUpperCase()}${name.slice(1)}`;
}

function cppStructs(namespace: string, schema: Schema, limits: Limits): string {
  let out = `// ${notice}\n#pragma once\n\n#include <cstddef>\n#include <cstdint>\n\n`;
  out += `namespace ${namespace} {\n${Object.keys(limits).length > 0 ? '\n' : ''}`;
  for (const [name, [value]] of Object.entries(limits)) {
    out += `constexpr uint64_t ${cppConstant(name)} = ${value}u;\n`;
  }
  for (const e of schema.enums) {
    out += `\nenum class ${e.name} : ${e.type} {\n`;
    for (const v of e.values) out += `  k${v.name} = ${v.value},\n`;
    out += '};\n';
  }
  for (const s of schema.structs) {
    out += `\nstruct ${s.name} {\n`;
    for (const f of s.fields) out += `  ${scalars[f.type]?.cpp ?? f.type} ${snake(f.name)};\n`;
    out += `};\nstatic_assert(sizeof(${s.name}) == ${s.size});\n`;
    for (const f of s.fields) {
      out += `static_assert(offsetof(${s.name}, ${snake(f.name)}) == ${f.offset});\n`;
    }
  }
  return `${out}\n}  // namespace ${namespace}\n`;
}

type Limits = Record<string, [number, string]>;

function typescriptLimits(limits: Limits): string {
  let out = `/** ${notice} Limits and constants of the protocol. */\n\n`;
  for (const [name, [value, comment]] of Object.entries(limits)) {
    out += `/** ${comment} */\nexport const ${name} = ${value};\n`;
  }
  return out;
}

function controlTables(outDir: string): void {
  const scratch = mkdtempSync(join(tmpdir(), 'sealfs-generate-'));
  try {
    for (const table of ['Hello', 'HelloReply']) {
      execFileSync('flatc', ['--ts', '-o', scratch, 'schema/control.fbs']);
      const file = table.replace(/([a-z])([A-Z])/g, '$1-$2').toLowerCase();
      const text = readFileSync(join(scratch, 'sealfs/control', `${file}.ts`), 'utf8');
      writeFileSync(join(outDir, `${file}.generated.ts`), text);
    }
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

// The checkout, or a scratch folder to compare with it.
const root = process.argv[2] ?? '.';
const protocolDir = join(root, 'src/protocol');

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

const limits = JSON.parse(readFileSync('schema/limits.json', 'utf8')) as Limits;
const wire = parse(readFileSync('schema/wire.fbs', 'utf8'));
write('src/protocol/wire.generated.ts', typescriptStructs(wire));
write('src/protocol/limits.generated.ts', typescriptLimits(limits));
write('native/common/wire.generated.h', cppStructs('sealfs::wire', wire, limits));
for (const [name, header, namespace] of [
  ['fuse', 'native/fuse/layout.generated.h', 'sealfs::fuse'],
  ['core', 'native/common/turn_state.generated.h', 'sealfs'],
  ['engine', 'native/common/engine_layout.generated.h', 'sealfs::engine'],
  ['extent', 'native/extent/layout.generated.h', 'sealfs::extent'],
  ['intercept', 'native/intercept_host/calls.generated.h', 'sealfs::intercept'],
] as const) {
  const layout = parse(readFileSync(`schema/${name}.fbs`, 'utf8'));
  write(`src/native/${name}-layout.generated.ts`, typescriptStructs(layout));
  write(header, cppStructs(namespace, layout, {}));
}
// Known to C++ only: what two rdma engines say to each other beside frames.
const rdma = parse(readFileSync('schema/rdma.fbs', 'utf8'));
write('native/rdma/protocol.generated.h', cppStructs('sealfs::rdma', rdma, {}));
// Known to TypeScript only.
const data = parse(readFileSync('schema/data.fbs', 'utf8'));
write('src/protocol/data-format.generated.ts', typescriptStructs(data));
controlTables(protocolDir);
