/** Holds the byte tables of docs/formats/wire.md against the generated layout: neither may drift. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'mocha';
import { packageRoot } from '../../../src/native/load.js';
import * as wire from '../../../src/protocol/wire.generated.js';

type Layout = Record<string, number>;

const text = readFileSync(join(packageRoot(), 'docs/formats/wire.md'), 'utf8');

/** The tables by struct: `SIZE` from the heading, offsets from the rows. */
function tables(): Map<string, Layout> {
  const found = new Map<string, Layout>();
  const sections = text.matchAll(/^### (\w+): (\d+) bytes\n([\s\S]*?)(?=\n#|\n(?![\s\S]))/gm);
  for (const [, name, size, body] of sections) {
    const layout: Layout = { SIZE: Number(size) };
    // Only the heading's own table: others may follow in the same section.
    const table = /^\| offset[\s\S]*?(?=\n\n|\n?(?![\s\S]))/m.exec(body!)?.[0] ?? '';
    for (const row of table.matchAll(/^\| (\d+)\s*\| \w+\s*\| (\w+)/gm)) {
      layout[row[2]!] = Number(row[1]);
    }
    found.set(name!, layout);
  }
  return found;
}

describe('docs/formats/wire.md', () => {
  it('has a table for each struct, with its offsets', () => {
    const documented = tables();
    const structs = Object.entries(wire).filter(([name]) => name !== 'Opcode');
    assert.deepEqual([...documented.keys()].sort(), structs.map(([name]) => name).sort());
    for (const [name, layout] of structs) {
      assert.deepEqual(documented.get(name), { ...layout }, name);
    }
  });

  it('has a row for each opcode', () => {
    for (const [name, value] of Object.entries(wire.Opcode)) {
      assert.match(text, new RegExp(`^\\| ${value}\\s*\\| ${name} `, 'm'), name);
    }
  });
});
