/** Patterns of names as the shell has them (glob(7)), without braces: `*`, `?`, `[a-z]`, `[!a]`, `\` before a character. */
import { UsageError } from '../common/errors.js';

/** Matches whole names. Throws UsageError for a bracket that is not closed. */
export function globPattern(option: string, pattern: string): RegExp {
  let source = '';
  for (let at = 0; at < pattern.length; at++) {
    const character = pattern[at]!;
    if (character === '*') source += '.*';
    else if (character === '?') source += '.';
    else if (character === '[') {
      const end = pattern.indexOf(']', at + (/^\[[!^]/.test(pattern.slice(at)) ? 3 : 2));
      if (end < 0) throw new UsageError(`${option}: '${pattern}': '[' is not closed by a ']'`);
      source += bracket(pattern.slice(at + 1, end));
      at = end;
    } else if (character === '\\' && at + 1 < pattern.length) source += literal(pattern[++at]!);
    else source += literal(character);
  }
  try {
    return new RegExp(`^${source}$`, 'su');
  } catch (error) {
    throw new UsageError(`${option}: '${pattern}' is not a pattern such as '*.log'`, {
      cause: error,
    });
  }
}

function literal(character: string): string {
  return character.replace(/[\\^$.*+?()[\]{}|/]/, '\\$&');
}

function bracket(content: string): string {
  const negated = /^[!^]/.test(content);
  const set = (negated ? content.slice(1) : content).replace(/[\\\]^[]/g, '\\$&');
  return `[${negated ? '^' : ''}${set}]`;
}
