/**
 * Sizes as people write them: '4096', '10G', '512MiB', '1.5T'. K M G T P, with or without 'iB',
 * are powers of 1024 (as in fio, dd and mount); 'KB', 'MB' … are powers of 1000.
 */
import { UsageError } from './errors.js';

const units = ['', 'K', 'M', 'G', 'T', 'P'] as const;
const sizePattern = /^([0-9]+(?:\.[0-9]+)?)\s*(?:([KMGTP])(iB|B)?|B)?$/i;

/** Bytes; throws UsageError naming `what` ('--data-size') unless the result is below 2^53. */
export function parseSize(text: string, what: string): number {
  const match = sizePattern.exec(text.trim());
  if (match === null) {
    throw new UsageError(
      `${what}: '${text}' is not a size; expected a number of bytes such as 4096, 512MiB or 10G`,
    );
  }
  const power = units.indexOf((match[2] ?? '').toUpperCase() as (typeof units)[number]);
  const base = match[3]?.toUpperCase() === 'B' ? 1000 : 1024;
  const bytes = Math.round(Number(match[1]) * base ** power);
  if (!Number.isSafeInteger(bytes)) {
    throw new UsageError(`${what}: '${text}' is too large; sizes are below 8P`);
  }
  return bytes;
}

/** Three significant digits in powers of 1024: 1536 → '1.50 KiB'. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let power = 0;
  while (value >= 1000 && power < units.length - 1) {
    value /= 1024;
    power += 1;
  }
  if (power === 0) return `${bytes} B`;
  const digits = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[power]!}iB`;
}
