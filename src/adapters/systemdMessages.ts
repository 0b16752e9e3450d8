import { spawn } from 'node:child_process';
import { writeSync } from 'node:fs';
import { describe } from '../errors/onboardingError.ts';
import { passedSockets } from './passedDescriptors.ts';

/** Sends the assignments of sd_notify(3) as one message. @returns why it could not be sent; null: it was */
export type Send = (assignments: readonly string[]) => Promise<string | null>;

export interface Messages {
  /** Whether no child process carries them, so that any number may be sent and none comes late. */
  readonly areDirect: boolean;
  /** In order, one at a time. What tells the state is sent again every second until it went out or is outdated. */
  send(...assignments: string[]): void;
}

const againMs = 1000;

/**
 * Messages to the service manager: through the socket that it passed (systemd 253 or newer), else through a child.
 *
 * @param failed told why a message could not be sent, once until one was sent again
 */
export function messagesTo(environment: NodeJS.ProcessEnv, failed: (cause: string) => void): Messages {
  const socket = passedSockets(environment).get('notify');
  const send = socket === undefined ? byChild(environment) : bySocket(socket);
  return { areDirect: socket !== undefined, send: inOrder(send, failed) };
}

export function inOrder(send: Send, failed: (cause: string) => void): Messages['send'] {
  const waiting: (readonly string[])[] = [];
  let isBusy = false;
  let isTold = false;
  const work = async () => {
    isBusy = true;
    for (let message = waiting.shift(); message !== undefined; message = waiting.shift()) {
      const cause = await send(message);
      if (cause !== null && !isTold) failed(cause);
      isTold = cause !== null;
      if (cause === null || !tellsState(message) || waiting.some(tellsState)) continue;
      await new Promise((resolve) => setTimeout(resolve, againMs).unref());
      if (!waiting.some(tellsState)) waiting.push(message);
    }
    isBusy = false;
  };
  return (...assignments) => {
    waiting.push(assignments);
    if (!isBusy) void work();
  };
}

function tellsState(message: readonly string[]): boolean {
  return message.includes('READY=1');
}

/** One write is one datagram. */
export function bySocket(descriptor: number, write: (to: number, text: string) => unknown = writeSync): Send {
  return async (assignments) => {
    try {
      write(descriptor, assignments.join('\n'));
      return null;
    } catch (error) {
      return `the socket of the service manager: ${describe(error)}`;
    }
  };
}

/** Part of Debian's essential set. It stays a moment, so that the service manager can tell whose message it is. */
const perl = `use Socket; my $to = $ENV{NOTIFY_SOCKET}; $to =~ s/^@/\\0/; socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or exit 1;
  defined send($s, join("\\n", @ARGV), 0, pack_sockaddr_un($to)) or exit 1; select undef, undef, undef, 0.2`;

/** systemd-notify(1), and where that cannot be started, Perl. The unit has to say `NotifyAccess=all`. */
export function byChild(environment: NodeJS.ProcessEnv): Send {
  return async (assignments) => {
    const cause = await ran(environment, 'systemd-notify', assignments);
    if (cause === null) return null;
    return (await ran(environment, 'perl', ['-e', perl, ...assignments])) === null ? null : cause;
  };
}

/** @returns null: it ended well */
function ran(env: NodeJS.ProcessEnv, command: string, args: readonly string[]): Promise<string | null> {
  return new Promise((resolve) => {
    const fail = (error: unknown) => resolve(`${command} cannot be started: ${describe(error)}`);
    try {
      const child = spawn(command, args, { stdio: 'ignore', timeout: 5000, env });
      child.once('error', fail);
      child.once('exit', (code, signal) =>
        resolve(code === 0 ? null : `${command} ended with ${code ?? signal}`),
      );
    } catch (error) {
      fail(error);
    }
  });
}
