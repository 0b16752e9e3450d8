/**
 * Reads an environment file as the service manager does (`EnvironmentFile=`, systemd.exec(5)): comments are whole lines
 * that begin with `#` or `;`, a backslash outside quotes quotes the next character and at the end of a line continues it,
 * quoted text may span lines, and a `#` inside a value belongs to it. A line without `=`, or whose name is not a
 * variable's, is skipped.
 */
export function parseServiceEnvironment(text: string): Map<string, string> {
  const variables = new Map<string, string>();
  let at = 0;
  while (at < text.length) {
    const line = lineAt(text, at);
    if (/^[ \t]*[#;]/.test(line)) {
      at += line.length + 1;
      continue;
    }
    const equals = line.indexOf('=');
    if (equals < 0) {
      at += line.length + 1;
      continue;
    }
    const { value, end } = serviceValue(text, at + equals + 1);
    const name = line.slice(0, equals).trim();
    if (isName(name)) variables.set(name, value);
    at = end;
  }
  return variables;
}

/** @returns the value that begins here, and where the next line begins */
function serviceValue(text: string, from: number): { value: string; end: number } {
  const parts: string[] = [];
  /** Up to here white space at the end belongs to the value. */
  let kept = 0;
  let quote: string | null = null;
  let atStart = true;
  let at = from;
  for (; at < text.length; at++) {
    const letter = text.charAt(at);
    const next = text.charAt(at + 1);
    if (quote !== null) {
      if (letter === quote) {
        quote = null;
        atStart = true;
      } else if (quote === '"' && letter === '\\') {
        if (!isLineEnd(next)) parts.push('"\\`$'.includes(next) ? next : letter + next);
        at++;
      } else parts.push(letter);
      kept = parts.length;
    } else if (isLineEnd(letter)) break;
    else if (letter === '\\') {
      if (!isLineEnd(next)) parts.push(next);
      else if (next === '\r' && text.charAt(at + 2) === '\n') at++;
      at++;
      kept = parts.length;
      atStart = false;
    } else if (atStart && (letter === '"' || letter === "'")) quote = letter;
    else if (!atStart || !isBlank(letter)) {
      parts.push(letter);
      atStart = false;
      if (!isBlank(letter)) kept = parts.length;
    }
  }
  return { value: parts.slice(0, kept).join(''), end: at + 1 };
}

/**
 * Reads the environment file of the fleet's Go agents, which were started by container engines, shells and systemd alike:
 * a byte order mark, CRLF, `export`, quotes, continuation lines (a backslash at the end), and comments, on lines of their
 * own or behind white space and a `#`. Any other backslash belongs to the value. Empty values count as absent.
 */
export function parseAgentEnvironment(text: string): Map<string, string> {
  const variables = new Map<string, string>();
  for (const line of logicalLines(text)) {
    const [, name, raw = ''] = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)$/s.exec(line) ?? [];
    const value = agentValue(raw.trim());
    if (name !== undefined && value !== '') variables.set(name, value);
  }
  return variables;
}

function agentValue(raw: string): string {
  const quote = raw.charAt(0);
  if (quote === '"' || quote === "'") {
    const last = raw.lastIndexOf(quote);
    const first = raw.indexOf(quote, 1);
    for (const end of first === last ? [first] : [first, last]) {
      if (end > 0 && /^(\s+#.*)?$/s.test(raw.slice(end + 1))) return raw.slice(1, end);
    }
  }
  const comment = /\s#/.exec(raw);
  return comment === null ? (raw.startsWith('#') ? '' : raw) : raw.slice(0, comment.index).trimEnd();
}

function logicalLines(text: string): string[] {
  const lines: string[] = [];
  let open: string[] = [];
  for (const line of text.replace(/^\uFEFF/, '').split(/\r\n|[\r\n]/)) {
    const [slashes = ''] = /\\*$/.exec(line.slice(-64)) ?? [];
    const isComment = open.length === 0 && /^\s*[#;]/.test(line);
    if (slashes.length % 2 === 1 && !isComment) {
      open.push(line.slice(0, -1));
      continue;
    }
    lines.push([...open, line].join(''));
    open = [];
  }
  return open.length === 0 ? lines : [...lines, open.join('')];
}

function lineAt(text: string, from: number): string {
  let end = from;
  while (end < text.length && !isLineEnd(text.charAt(end))) end++;
  return text.slice(from, end);
}

function isName(name: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name);
}

function isLineEnd(letter: string): boolean {
  return letter === '\n' || letter === '\r';
}

function isBlank(letter: string): boolean {
  return letter === ' ' || letter === '\t';
}
