// The calendar of the MC146818A: seconds since 1970 to and from its ten time and alarm bytes and
// the PC's century byte, in BCD or binary, 12 or 24 hours. "Time, calendar and alarm locations",
// table 3.

const SECONDS = 0x00;
const SECONDS_ALARM = 0x01;
const MINUTES = 0x02;
const MINUTES_ALARM = 0x03;
const HOURS = 0x04;
const HOURS_ALARM = 0x05;
const WEEKDAY = 0x06;
const DAY = 0x07;
const MONTH = 0x08;
const YEAR = 0x09;
const CENTURY = 0x32;

const PM = 0x80;
/** An alarm byte from here on matches everything. */
const ALARM_ANY = 0xc0;
const DAY_SECONDS = 86_400;
/** 1 January 1970 was a Thursday; Sunday is day 1. */
const EPOCH_WEEKDAY = 4;

export interface CalendarFormat {
  readonly binary: boolean;
  readonly hours24: boolean;
}

/** The bytes that show `seconds`, at their register numbers; the other elements are missing. */
export function encodeTime(
  seconds: number,
  weekdayShift: number,
  format: CalendarFormat,
): number[] {
  const date = new Date(seconds * 1000);
  const { binary } = format;
  const year = ((date.getUTCFullYear() % 10_000) + 10_000) % 10_000;
  const bytes: number[] = [];
  bytes[SECONDS] = encode(date.getUTCSeconds(), binary);
  bytes[MINUTES] = encode(date.getUTCMinutes(), binary);
  bytes[HOURS] = encodeHours(date.getUTCHours(), format);
  bytes[WEEKDAY] = encode(((weekdayOf(seconds) + weekdayShift) % 7) + 1, binary);
  bytes[DAY] = encode(date.getUTCDate(), binary);
  bytes[MONTH] = encode(date.getUTCMonth() + 1, binary);
  bytes[YEAR] = encode(year % 100, binary);
  bytes[CENTURY] = encode(Math.floor(year / 100), binary);
  return bytes;
}

/** What the bytes show. Nonsense (a 45th of a 14th month) counts on from the last sensible day. */
export function decodeTime(
  bytes: readonly number[],
  format: CalendarFormat,
): { seconds: number; weekdayShift: number } {
  const field = (index: number): number => decode(bytes[index] ?? 0, format.binary);
  const date = new Date(0);
  date.setUTCFullYear(field(CENTURY) * 100 + field(YEAR), field(MONTH) - 1, field(DAY));
  const hours = decodeHours(bytes[HOURS] ?? 0, format);
  date.setUTCHours(hours, field(MINUTES), field(SECONDS));
  const seconds = date.getTime() / 1000;
  const weekdayShift = (field(WEEKDAY) - 1 - weekdayOf(seconds) + 7 * 40) % 7;
  return { seconds, weekdayShift };
}

/** Whether the alarm bytes match the second. */
export function matchesAlarm(
  bytes: readonly number[],
  seconds: number,
  format: CalendarFormat,
): boolean {
  const ofDay = ((seconds % DAY_SECONDS) + DAY_SECONDS) % DAY_SECONDS;
  const matches = (index: number, shown: number): boolean => {
    const alarm = bytes[index] ?? 0;
    return alarm >= ALARM_ANY || alarm === shown;
  };
  return (
    matches(SECONDS_ALARM, encode(ofDay % 60, format.binary)) &&
    matches(MINUTES_ALARM, encode(Math.floor(ofDay / 60) % 60, format.binary)) &&
    matches(HOURS_ALARM, encodeHours(Math.floor(ofDay / 3600), format))
  );
}

/** Sunday is 0. */
function weekdayOf(seconds: number): number {
  const days = Math.floor(seconds / DAY_SECONDS) + EPOCH_WEEKDAY;
  return ((days % 7) + 7) % 7;
}

function encode(value: number, binary: boolean): number {
  return binary ? value : (Math.floor(value / 10) << 4) | (value % 10);
}

function decode(byte: number, binary: boolean): number {
  return binary ? byte : (byte >> 4) * 10 + (byte & 15);
}

function encodeHours(hours: number, format: CalendarFormat): number {
  if (format.hours24) return encode(hours, format.binary);
  return encode(hours % 12 === 0 ? 12 : hours % 12, format.binary) | (hours >= 12 ? PM : 0);
}

function decodeHours(byte: number, format: CalendarFormat): number {
  if (format.hours24) return decode(byte, format.binary);
  return (decode(byte & ~PM, format.binary) % 12) + (byte & PM ? 12 : 0);
}
