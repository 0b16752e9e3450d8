import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { type Device, programFile } from './program.ts';

/**
 * In place of journald: Perl, which is essential on Debian, makes a pair of datagram sockets as `OpenFile=` does, starts
 * the program with one of them as descriptor 3, and prints each datagram in hexadecimal. Without `reads` it
 * never reads, and the socket is full after a few lines.
 */
const perl = `use Socket; use POSIX (); $^F = 10;
socketpair(my $ours, my $theirs, AF_UNIX, SOCK_DGRAM, 0) or die $!;
setsockopt($theirs, SOL_SOCKET, SO_SNDBUF, pack('i', 4096)) unless $ENV{READS};
my $pid = fork;
if ($pid == 0) {
  my $fd = fileno($theirs);
  if ($fd != 3) { POSIX::dup2($fd, 3); }
  open(STDOUT, '>', $ENV{STDOUT_FILE}) or die $!;
  ($ENV{LISTEN_PID}, $ENV{LISTEN_FDS}, $ENV{LISTEN_FDNAMES}) = ($$, 1, 'journal');
  exec @ARGV or die $!;
}
close $theirs; $| = 1; print "pid $pid\\n";
$SIG{CHLD} = sub {
  waitpid $pid, 0; my $code = $? >> 8;
  while ($ENV{READS} && defined recv($ours, my $datagram, 1 << 20, MSG_DONTWAIT)) { print unpack('H*', $datagram), "\\n"; }
  print "exit $code\\n"; exit;
};
while ($ENV{READS} && defined recv($ours, my $datagram, 1 << 20, 0)) { print unpack('H*', $datagram), "\\n"; }
sleep;`;

export interface JournalRun {
  readonly child: ChildProcess;
  /** Datagrams so far */
  readonly datagrams: Buffer[];
  /** Process id of the program */
  readonly pid: () => number | null;
  readonly exit: () => number | null;
}

/** `onboardd run` with the format `journal` and a journal that reads, or does not. */
export function runUnderJournal(device: Device, stdoutFile: string, reads: boolean): JournalRun {
  const child = spawn(
    'perl',
    ['-e', perl, process.execPath, programFile, 'run', '--config', device.configFile],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, READS: reads ? '1' : '0', STDOUT_FILE: stdoutFile },
    },
  );
  const datagrams: Buffer[] = [];
  let pid: number | null = null;
  let exit: number | null = null;
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [word, value] = line.split(' ');
    if (word === 'pid') pid = Number(value);
    else if (word === 'exit') exit = Number(value);
    else datagrams.push(Buffer.from(line, 'hex'));
  });
  return { child, datagrams, pid: () => pid, exit: () => exit };
}
