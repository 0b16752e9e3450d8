import { ofJournal, ofLoki, parseLogLine, parseObject } from './envelopes.ts';
import { type LogLine, noEnvelope, readFields } from './logLine.ts';

/** Reads the bytes of one log, chunk after chunk. */
export interface LogReader {
  push(chunk: Uint8Array): void;
  end(): void;
}

/** @param line null: one that onboardd did not write */
export type OnLine = (line: LogLine | null) => void;

/** A longer line is cut: onboardd did not write it, and it must not fill the memory. */
const longestLine = 256 * 1024;
/** A whole answer of Loki is one JSON text. */
const longestDocument = 256 * 1024 * 1024;
const newline = 0x0a;
const carriageReturn = 0x0d;
const open = 0x7b;
const less = 0x3c;
const more = 0x3e;
const decoder = new TextDecoder();

/**
 * Recognizes the format from the first bytes: lines (see `parseLogLine`), `journalctl -o export`, or one answer of
 * Loki's `query_range`.
 */
export function newLogReader(onLine: OnLine): LogReader {
  let reader: LogReader | null = null;
  let head = new Uint8Array(0);
  const choose = () => {
    const text = decoder.decode(head.subarray(0, 4096)).trimStart();
    if (/^__CURSOR=/.test(text)) return journalExport(onLine);
    if (/^\{\s*"(status|data)"\s*:/.test(text) && !text.includes('"event"')) return lokiAnswer(onLine);
    if (/^\{\s*"status"\s*:\s*"success"\s*,\s*"data"/.test(text)) return lokiAnswer(onLine);
    return lines(onLine);
  };
  const start = () => {
    reader = choose();
    reader.push(head);
  };
  return {
    push(chunk) {
      // Buffer.slice() does not copy, and would keep the whole chunk in memory.
      const bytes = new Uint8Array(chunk.buffer as ArrayBuffer, chunk.byteOffset, chunk.length);
      if (reader !== null) reader.push(bytes);
      else {
        head = joined(head, bytes);
        if (head.length >= 64) start();
      }
    },
    end() {
      if (reader === null) start();
      reader?.end();
    },
  };
}

function lines(onLine: OnLine): LogReader {
  const texts = dockerParts(onLine);
  let rest = new Uint8Array(0);
  let isCut = false;

  function take(bytes: Uint8Array, from: number, to: number): void {
    let [start, end] = [from, to];
    if (bytes[end - 1] === carriageReturn) end--;
    if (start === end) return;
    if (bytes[start] === less && bytes[start + 2] === more) start += 3;
    const line = bytes[start] === open && !texts.isWaiting() ? readPlain(bytes, start, end) : null;
    if (line !== null) onLine(line);
    else texts.push(decoder.decode(bytes.subarray(start, end)));
  }

  return {
    push(bytes) {
      let begin = 0;
      // Only the line that was cut is copied.
      const first = rest.length > 0 ? bytes.indexOf(newline) : -1;
      if (first >= 0) {
        const line = joined(rest, bytes.subarray(0, first));
        if (!isCut) take(line, 0, line.length);
        isCut = false;
        begin = first + 1;
        rest = new Uint8Array(0);
      }
      for (let end = bytes.indexOf(newline, begin); end >= 0; end = bytes.indexOf(newline, begin)) {
        if (!isCut) take(bytes, begin, end);
        isCut = false;
        begin = end + 1;
      }
      rest = joined(rest, bytes.slice(begin));
      if (rest.length <= longestLine) return;
      if (!isCut) onLine(null);
      isCut = true;
      rest = new Uint8Array(0);
    },
    end() {
      if (!isCut && rest.length > 0) take(rest, 0, rest.length);
      texts.end();
      [rest, isCut] = [new Uint8Array(0), false];
    },
  };
}

/** Docker cuts long lines into several; each but the last has no newline. */
function dockerParts(onLine: OnLine) {
  let parts = '';
  /** @returns null: more of the line follows */
  function unpart(text: string): string | null {
    const json = parseObject(text);
    if (typeof json?.log !== 'string') {
      parts = '';
      return text;
    }
    if (!json.log.endsWith('\n') && parts.length + json.log.length < longestLine) {
      parts += json.log;
      return null;
    }
    const whole = parts === '' ? text : JSON.stringify({ ...json, log: parts + json.log });
    parts = '';
    return whole;
  }
  return {
    isWaiting: () => parts !== '',
    push(text: string): void {
      const whole = parts !== '' || text.startsWith('{"log":') ? unpart(text) : text;
      if (whole !== null) onLine(parseLogLine(whole));
    },
    end(): void {
      if (parts !== '') onLine(parseLogLine(parts));
      parts = '';
    },
  };
}

/**
 * A line as onboardd writes it. Read as Latin-1, which is twice as fast as UTF-8 as soon as one arrow is in it: a byte of
 * a longer character is not one that JSON gives a meaning.
 *
 * @returns null for another line, or one with such bytes in a text that the report shows
 */
function readPlain(bytes: Uint8Array, start: number, end: number): LogLine | null {
  const json = parseObject(
    Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1'),
  );
  const line = json === null ? null : readFields(json, noEnvelope);
  return line === null || [line.cause, line.alias, line.step].some(hasHighByte) ? null : line;
}

function hasHighByte(text: string | null): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the range of ASCII
  return text !== null && /[^\x00-\x7f]/.test(text);
}

/** systemd's Journal Export Format: `NAME=text`, or NAME, a 64-bit length and bytes; an empty line ends an entry. */
function journalExport(onLine: OnLine): LogReader {
  let rest = new Uint8Array(0);
  let fields: Record<string, string> = {};
  const finish = () => {
    if (Object.keys(fields).length > 0) onLine(ofJournal(fields));
    fields = {};
  };
  /** @returns where the next field begins; -1: more bytes are needed */
  const take = (bytes: Uint8Array, begin: number): number => {
    const end = bytes.indexOf(newline, begin);
    if (end < 0) return -1;
    if (end === begin) {
      finish();
      return end + 1;
    }
    const text = decoder.decode(bytes.subarray(begin, end));
    const equals = text.indexOf('=');
    if (equals >= 0) {
      fields[text.slice(0, equals)] = text.slice(equals + 1);
      return end + 1;
    }
    if (bytes.length < end + 9) return -1;
    const length = new DataView(bytes.buffer, bytes.byteOffset + end + 1, 8).getUint32(0, true);
    const after = end + 9 + length;
    if (bytes.length < after + 1) return -1;
    if (length <= longestLine) fields[text] = decoder.decode(bytes.subarray(end + 9, after));
    return after + 1;
  };
  return {
    push(chunk) {
      const bytes = joined(rest, chunk);
      let begin = 0;
      for (let next = take(bytes, 0); next >= 0; next = take(bytes, begin)) begin = next;
      rest = bytes.slice(begin);
      if (rest.length > longestDocument) throw new Error('a field of the journal export is too long');
    },
    end() {
      // The last entry may lack its empty line, and its last newline.
      if (rest.length > 0) take(joined(rest, Uint8Array.of(newline)), 0);
      finish();
    },
  };
}

/** `{"status":"success","data":{"resultType":"streams","result":[{"stream":{…},"values":[[ns,line],…]}]}}` */
function lokiAnswer(onLine: OnLine): LogReader {
  const chunks: Uint8Array[] = [];
  let size = 0;
  return {
    push(chunk) {
      size += chunk.length;
      if (size > longestDocument)
        throw new Error('the answer of Loki is longer than 256 MiB: use logcli -o jsonl, which writes lines');
      chunks.push(chunk.slice());
    },
    end() {
      const text = decoder.decode(chunks.reduce(joined, new Uint8Array(0)));
      const json = parseObject(text);
      if (json === null) throw new Error('it begins like an answer of Loki, but is not JSON');
      const data = json.data as { result?: unknown } | undefined;
      const streams = Array.isArray(data?.result) ? data.result : [];
      for (const stream of streams) {
        const values: unknown = stream?.values;
        if (!Array.isArray(values)) continue;
        for (const value of values)
          onLine(Array.isArray(value) ? ofLoki(String(value[1]), value[0], stream.stream) : null);
      }
    },
  };
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  if (first.length === 0) return second as Uint8Array<ArrayBuffer>;
  const bytes = new Uint8Array(first.length + second.length);
  bytes.set(first);
  bytes.set(second, first.length);
  return bytes;
}
