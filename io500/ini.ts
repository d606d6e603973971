/**
 * The INI files that the IO500 reads: sections in brackets, `key = value`, comments from `#` or `;`
 * at the beginning of a line or after white space. Strict: whatever is neither is refused with its
 * line, because a mistyped key would otherwise silently change what is measured.
 */
import { UsageError } from '../src/common/errors.js';

export interface IniEntry {
  section: string;
  key: string;
  /** Empty: the key stands there without a value, which means unset. */
  value: string;
  line: number;
}

/** All entries in order. `name` is the file's, for messages. */
export function parseIni(text: string, name: string): IniEntry[] {
  const entries: IniEntry[] = [];
  const seen = new Map<string, number>();
  let section: string | undefined;
  text.split(/\r?\n/).forEach((raw, index) => {
    const line = index + 1;
    const at = `${name}:${line}`;
    const content = raw.replace(/(^|\s)[#;].*$/, '').trim();
    if (content === '') return;
    const heading = /^\[([^\][]+)\]$/.exec(content);
    if (heading) {
      section = heading[1]!.trim();
      return;
    }
    const pair = /^([^=\s]+)\s*=\s*(.*)$/.exec(content);
    if (!pair) {
      throw new UsageError(`${at}: '${content}' is neither '[section]' nor 'key = value'`);
    }
    if (section === undefined) {
      throw new UsageError(`${at}: '${content}' stands before the first [section]`);
    }
    const key = pair[1]!;
    const before = seen.get(`${section}\n${key}`);
    if (before !== undefined) {
      throw new UsageError(`${at}: '${key}' of [${section}] is already set in line ${before}`);
    }
    seen.set(`${section}\n${key}`, line);
    entries.push({ section, key, value: pair[2]!, line });
  });
  return entries;
}

/** Writes sections in order; a value of undefined is left out. */
export function formatIni(sections: [string, [string, string | undefined][]][]): string {
  return sections
    .map(([section, pairs]) => {
      const lines = pairs.filter(([, value]) => value !== undefined);
      return [`[${section}]`, ...lines.map(([key, value]) => `${key} = ${value}`), ''].join('\n');
    })
    .join('\n');
}
