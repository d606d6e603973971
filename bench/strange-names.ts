/**
 * Names that follow no order anybody could guess, the same here and in native/rank/micro.cc (`lookup`): multiples of an
 * odd number near 2^64 divided by the golden ratio, in letters.
 */
const STEP = 0x9e3779b97f4a7c15n;
const FIRST_LETTER = 'a'.charCodeAt(0);

/** Of 16 letters; all different for i from 0 to 2^64 - 2. */
export function strangeName(i: number): string {
  const digits = BigInt.asUintN(64, BigInt(i + 1) * STEP).toString(16);
  return digits
    .padStart(16, '0')
    .replace(/./g, (digit) => String.fromCharCode(FIRST_LETTER + parseInt(digit, 16)));
}
