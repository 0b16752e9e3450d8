import { ofJournal, ofLoki, parseLogLine, parseObject } from './envelopes.ts';
import type { LogLine } from './logLine.ts';
import { scanLine } from './scanLine.ts';

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
 *
 * @param format if it is known already
 */
export function newLogReader(onLine: OnLine, format?: LogFormat): LogReader {
  let reader: LogReader | null = format === undefined ? null : readers[format](onLine);
  let head = new Uint8Array(0);
  const start = () => {
    reader = readers[formatOf(head)](onLine);
    reader.push(head);
  };
  return {
    push(chunk) {
      // Buffer.slice() does not copy, and would keep the whole chunk in memory.
      const bytes = new Uint8Array(chunk.buffer as ArrayBuffer, chunk.byteOffset, chunk.length);
      if (reader !== null) reader.push(bytes);
      else {
        head = joined(head, bytes);
        if (head.length >= enoughBytes) start();
      }
    },
    end() {
      if (reader === null) start();
      reader?.end();
    },
  };
}

/** @returns what reads one block of whole lines, and tells how many of them onboardd wrote */
export function newBlockReader(onLine: OnLine): (block: Uint8Array) => number {
  let own = 0;
  const reader = lines((line) => {
    if (line !== null) own++;
    onLine(line);
  });
  return (block) => {
    own = 0;
    reader.push(block);
    reader.end();
    return own;
  };
}

/** How a log is stored: only lines can be read in parts. */
export type LogFormat = 'lines' | 'journalExport' | 'lokiAnswer';
/** So many bytes tell the format. */
export const enoughBytes = 64;

/** @param head the first bytes, `enoughBytes` of them if there are as many */
export function formatOf(head: Uint8Array): LogFormat {
  const text = decoder.decode(head.subarray(0, enoughBytes)).trimStart();
  if (/^__CURSOR=/.test(text)) return 'journalExport';
  const isAnswer =
    /^\{\s*"status"\s*:\s*"\w+"\s*,\s*"(data|error|errorType)"\s*:/.test(text) ||
    /^\{\s*"data"\s*:\s*\{\s*"(result|resultType|stats|encodingFlags)"\s*:/.test(text);
  return isAnswer ? 'lokiAnswer' : 'lines';
}

const readers: Readonly<Record<LogFormat, (onLine: OnLine) => LogReader>> = {
  lines,
  journalExport,
  lokiAnswer,
};

function lines(onLine: OnLine): LogReader {
  const texts = dockerParts(onLine);
  let rest = new Uint8Array(0);
  let isCut = false;

  function take(bytes: Uint8Array, from: number, to: number): void {
    let [start, end] = [from, to];
    if (bytes[end - 1] === carriageReturn) end--;
    if (start === end) return;
    if (end - start > longestLine) {
      onLine(null);
      return;
    }
    if (bytes[start] === less && bytes[start + 2] === more) start += 3;
    const line = bytes[start] === open && !texts.isWaiting() ? scanLine(bytes, start, end) : null;
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

const dockerHead = new TextEncoder().encode('{"log":');

/** Whether more of the line follows on the next one. @param end without the newline */
export function isDockerPart(bytes: Uint8Array, start: number, end: number): boolean {
  for (const [index, byte] of dockerHead.entries()) if (bytes[start + index] !== byte) return false;
  if (end - start > longestLine) return false;
  const json = parseObject(decoder.decode(bytes.subarray(start, end)));
  return typeof json?.log === 'string' && !json.log.endsWith('\n');
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
