/** Times as the IO500 writes them: local, in its two notations. */

const two = (value: number): string => String(value).padStart(2, '0');

function parts(date: Date): [string, string, string, string, string, string] {
  return [
    String(date.getFullYear()),
    two(date.getMonth() + 1),
    two(date.getDate()),
    two(date.getHours()),
    two(date.getMinutes()),
    two(date.getSeconds()),
  ];
}

/** 2026-07-01 09:05:03, as in result.txt. */
export function recordTime(date: Date): string {
  const [year, month, day, hour, minute, second] = parts(date);
  return `${year}-${month}-${day} ${hour}:${minute}:${second}`;
}

/** 2026.07.01-09.05.03, as in names of directories. */
export function compactTime(date: Date): string {
  const [year, month, day, hour, minute, second] = parts(date);
  return `${year}.${month}.${day}-${hour}.${minute}.${second}`;
}
